/** Words of the kernel's command line. None of them is for virtio. */

/** v86 has no clock that drifts, and no other tenants to be guarded against. */
const plain = 'console=ttyS0 nokaslr tsc=reliable mitigations=off random.trust_cpu=on audit=0'
/** What no guest here is asked for. */
const leftOut = [
  'load_system_certificate_list', // certificates of modules
  'blake2s_mod_init', // a self-test
  'tracer_init_tracefs', // thousands of files of /sys/kernel/tracing, and what waits for them
  'init_blk_tracer',
  'init_kprobe_trace',
]
/** A third of the boot: self-tests of ciphers, plug and play of ISA, tracing. */
const fast = `cryptomgr.notests noisapnp initcall_blacklist=${leftOut}`

/** For any guest here; its messages go to the serial port. */
export const kernelWords = `${plain} ${fast}`
