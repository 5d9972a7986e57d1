/** The console: a terminal, a named port, and a port that comes and goes. */
import { Console } from 'virtgen/devices/console'
import { expect, it } from 'vitest'
import { sha256 } from './disks.ts'
import { bytesOf, type Proof, text } from './proof.ts'

export class Terminals implements Proof {
  terminal = ''
  port = ''
  readonly opened: boolean[] = []
  readonly console = new Console({
    ports: [
      {
        size: { columns: 132, rows: 43 },
        onOutput: (output) => {
          this.terminal += text.decode(output)
        },
      },
      {
        name: 'org.virtgen.test',
        onOutput: (output) => {
          this.port += text.decode(output)
        },
        onOpen: (open) => this.opened.push(open),
      },
    ],
    maxPorts: 4,
  })
  readonly devices = [{ device: this.console }]

  readonly prove: Proof['prove'] = (guest) => {
    it('is hvc0: a shell runs on it, in both directions', async () => {
      await guest().run('setsid sh </dev/hvc0 >/dev/hvc0 2>&1 &')
      // What comes before it is there is lost.
      await guest().until(() => this.terminal.includes('built-in shell'))
      this.console.port(0)?.write(bytesOf('echo $((6 * 7)) on $(uname -s)\n'))
      await guest().until(() => this.terminal.includes('42 on Linux'))
    })

    it('has the size that the host says, also when it changes', async () => {
      expect(await guest().run('stty size < /dev/hvc0')).toBe('43 132')
      this.console.port(0)?.resize({ columns: 80, rows: 24 })
      expect(await guest().run('sleep 1; stty size < /dev/hvc0')).toBe('24 80')
      this.console.port(0)?.write(bytesOf('exit\n'))
    })

    it('has a port with a name, through which files go unharmed', async () => {
      expect(await guest().run('cat /sys/class/virtio-ports/vport*p1/name')).toBe('org.virtgen.test')
      const input = new Uint8Array(300_000).map((_, index) => 33 + ((index * 7) % 90))
      this.console.port(1)?.write(input)
      expect(await guest().run(`head -c ${input.length} /dev/vport*p1 | sha256sum`)).toContain(sha256(input))
      await guest().run('cat /proc/cpuinfo > $(ls /dev/vport*p1)')
      await guest().until(() => this.port.includes('flags'))
      expect(this.opened).toEqual([true, false, true, false])
    })

    it('gets a port while the guest runs, and loses it', async () => {
      const added = this.console.addPort({ name: 'later' })
      expect(await guest().run('sleep 1; cat /sys/class/virtio-ports/vport*p2/name')).toBe('later')
      this.console.removePort(added)
      expect(await guest().run('sleep 1; ls /sys/class/virtio-ports/ | wc -l')).toBe('2')
    })
  }
}
