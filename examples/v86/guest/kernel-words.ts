/** Words of the kernel's command line. None of them is for virtio. */

/** v86 has no clock that drifts, and no other tenants to be guarded against. */
const plain = 'console=ttyS0 nokaslr tsc=reliable mitigations=off random.trust_cpu=on audit=0'
/** A quarter of the boot: self-tests of ciphers, plug and play of ISA, certificates of modules, tracing of probes. */
const fast = 'cryptomgr.notests noisapnp initcall_blacklist=load_system_certificate_list,init_kprobe_trace'

/** For any guest here; its messages go to the serial port. */
export const kernelWords = `${plain} ${fast}`
