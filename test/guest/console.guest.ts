/** A stock Linux in v86 and virtgen's console: a terminal, and a named port. */
import { Console } from 'virtgen/devices/console'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Guest } from './guest.ts'

const text = new TextDecoder()
const bytes = (words: string): Uint8Array => new TextEncoder().encode(words)

describe('the console', () => {
  let guest: Guest
  let terminal = ''
  let port = ''
  const opened: boolean[] = []
  const terminals = new Console({
    ports: [
      {
        size: { columns: 132, rows: 43 },
        onOutput: (output) => {
          terminal += text.decode(output)
        },
      },
      {
        name: 'org.virtgen.test',
        onOutput: (output) => {
          port += text.decode(output)
        },
        onOpen: (open) => opened.push(open),
      },
    ],
    maxPorts: 4,
  })
  beforeAll(async () => {
    guest = await Guest.boot({ devices: [terminals] })
  }, 200_000)
  afterAll(() => guest?.stop())

  it('is hvc0: a shell runs on it, in both directions', async () => {
    await guest.run('setsid sh </dev/hvc0 >/dev/hvc0 2>&1 &')
    terminals.port(0)?.write(bytes('echo $((6 * 7)) on $(uname -s)\n'))
    await guest.until(() => terminal.includes('42 on Linux'))
  })

  it('has the size that the host says, also when it changes', async () => {
    expect(await guest.run('stty size < /dev/hvc0')).toBe('43 132')
    terminals.port(0)?.resize({ columns: 80, rows: 24 })
    expect(await guest.run('sleep 1; stty size < /dev/hvc0')).toBe('24 80')
  })

  it('has a second port with a name, through which files go unharmed', async () => {
    const name = await guest.run('cat /sys/class/virtio-ports/vport*p1/name')
    expect(name).toBe('org.virtgen.test')
    const input = new Uint8Array(300_000).map((_, index) => 33 + ((index * 7) % 90))
    const digest = Buffer.from(await crypto.subtle.digest('SHA-256', input)).toString('hex')
    terminals.port(1)?.write(input)
    expect(await guest.run(`head -c ${input.length} /dev/vport0p1 | sha256sum`)).toContain(digest)
    await guest.run('cat /proc/cpuinfo > /dev/vport0p1')
    await guest.until(() => port.includes('flags'))
    expect(opened).toEqual([true, false, true, false])
  })

  it('gets a port while the guest runs, and loses it', async () => {
    const added = terminals.addPort({ name: 'later' })
    expect(await guest.run('sleep 1; cat /sys/class/virtio-ports/vport0p2/name')).toBe('later')
    terminals.removePort(added)
    expect(await guest.run('sleep 1; ls /sys/class/virtio-ports/ | wc -l')).toBe('2')
  })

  it('did not break a rule', () => {
    expect(guest.errors).toEqual([])
  })
})
