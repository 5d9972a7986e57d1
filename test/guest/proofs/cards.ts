/** Network cards: eth0 at the in-process gateway, eth1 at passt, behind which is the host. */
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Gateway, Net } from 'virtgen/devices/net'
import { StreamBackend } from 'virtgen/node'
import { expect, it } from 'vitest'
import type { Guest } from '../guest.ts'
import { sha256 } from './disks.ts'
import type { Proof } from './proof.ts'

const passtMissing = spawnSync('passt', ['--version']).error !== undefined
const skipped = passtMissing && !process.env.CI
const ethtool = '/squash/ld.so --library-path /squash /squash/ethtool'

/** What udhcpc calls when it has an address. */
export const dhcpScript = `#!/bin/sh
[ "$1" = bound ] || exit 0
ifconfig $interface $ip netmask $subnet mtu \${mtu:-1500}
[ -n "$router" ] && route add default gw $router dev $interface && echo $router > /tmp/router.$interface
[ -n "$dns" ] && echo nameserver $dns > /etc/resolv.conf
`
export const dhcpPath = 'bin/dhcp'
const udhcpc = `udhcpc -q -n -s /${dhcpPath} -O mtu -i`

export class Cards implements Proof {
  readonly gateway = new Net(new Gateway({ names: { 'disk.test': '10.0.2.2' } }), { mac: '52:54:00:00:00:01', pairs: 2 })
  readonly devices
  readonly #ends: (() => void)[] = []
  readonly #content: Uint8Array
  #server: Server | undefined
  #posted = ''

  /**
   * @param content - what the host's web server serves
   * @param folder - for passt's socket; without, there is another gateway where passt would be
   */
  constructor(content: Uint8Array, folder?: string) {
    this.#content = content
    const outside = skipped ? [] : [{ device: new Net(folder ? this.#passt(folder) : new Gateway(), { mac: '52:54:00:00:00:02', pairs: 2 }) }]
    this.devices = [{ device: this.gateway, options: { transitional: true } }, ...outside]
  }

  #passt(folder: string): StreamBackend {
    const path = join(folder, 'net', 'passt')
    mkdirSync(join(folder, 'net'))
    // As root it becomes nobody, who must be able to make the socket.
    for (const each of [folder, join(folder, 'net')]) chmodSync(each, 0o777)
    const passt = spawn('passt', ['--foreground', '--socket', path, '--one-off', '--ipv4-only'], { stdio: 'ignore' })
    const backend = StreamBackend.connect({ path }, { reconnectAfter: 50 })
    this.#ends.push(
      () => passt.kill(),
      () => backend.close(),
    )
    return backend
  }

  /** A web server of the host, of which the guest gets a file and to which it sends one. */
  async #serve(): Promise<number> {
    const server = createServer((request, response) => {
      const parts: Buffer[] = []
      request.on('data', (part: Buffer) => parts.push(part))
      request.on('end', () => {
        if (request.method === 'POST') this.#posted = sha256(Buffer.concat(parts))
        response.end(request.method === 'POST' ? 'thanks' : this.#content)
      })
    })
    this.#server = server
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return (server.address() as AddressInfo).port
  }

  end(): void {
    this.#server?.close()
    for (const end of this.#ends) end()
  }

  readonly prove: Proof['prove'] = (guest) => {
    const features = async (card: string, bits: readonly number[]): Promise<string> => {
      const all = await guest().run(`cat /sys/class/net/${card}/device/features`)
      return bits.map((bit) => all[bit]).join('')
    }

    it('get an address by DHCP, ping the gateway, and find names', async () => {
      await configure(guest())
      expect(await guest().run('ifconfig eth0')).toMatch(/52:54:00:00:00:01[\s\S]*10\.0\.2\.15/i)
      expect(await guest().run('ping -c 5 -i 0.2 10.0.2.2')).toContain('5 packets received')
      expect(await guest().run('ping -c 3 -i 0.2 -s 1400 10.0.2.2')).toContain('3 packets received')
      expect(await guest().run('nslookup disk.test')).toContain('10.0.2.2')
    })

    it('leave checksums to the device, take frames in several buffers, and have more queues', async () => {
      // CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4, MRG_RXBUF, CTRL_VQ, MQ, VERSION_1
      expect(await features('eth0', [0, 1, 7, 11, 15, 17, 22, 32])).toBe('11111111')
      const offloads = await guest().run(`${ethtool} -k eth0`)
      expect(offloads).toMatch(/^rx-checksumming: on/m)
      expect(offloads).toMatch(/^tx-checksumming: on/m)
      expect(offloads).toMatch(/^tcp-segmentation-offload: on/m)
      await guest().run(`${ethtool} -L eth0 combined 2`)
      expect(await guest().run(`${ethtool} -l eth0`)).toMatch(/Current[\s\S]*Combined:\s+2/)
      expect(await guest().run('ping -c 3 -i 0.2 10.0.2.2')).toContain('3 packets received')
    })

    const why = skipped ? ' (skipped: passt is not installed)' : ''
    it.skipIf(skipped)(`fetch a file from the host over HTTP, and send one, on two pairs of queues${why}`, async () => {
      const port = await this.#serve()
      const link = await guest().run(`ifconfig eth0 down; ifconfig eth1 up; ${udhcpc} eth1 && cat /tmp/router.eth1; cat /sys/class/net/eth1/mtu`)
      const [router, mtu] = link.split('\n').slice(-2)
      // Frames that need many buffers.
      expect(Number(mtu)).toBeGreaterThan(9000)
      await guest().run(`${ethtool} -L eth1 combined 2`)
      const url = `http://${router}:${port}/random`
      for (let i = 0; i < 6; i++) expect(await guest().run(`wget -q -O - ${url} | sha256sum`)).toContain(sha256(this.#content))
      // As text: busybox posts no zeroes.
      const text = await guest().run('base64 /squash/random > /tmp/text; sha256sum /tmp/text')
      expect(await guest().run(`wget -q -O - --post-file /tmp/text ${url}`)).toBe('thanks')
      expect(text).toContain(this.#posted)
      const counted = await guest().run(`${ethtool} -S eth1`)
      for (const queue of ['rx_queue_0', 'rx_queue_1', 'tx_queue_0', 'tx_queue_1'])
        expect(Number(new RegExp(`${queue}_packets: (\\d+)`).exec(counted)?.[1]), counted).toBeGreaterThan(0)
      await guest().run('ifconfig eth1 down')
      await configure(guest())
    })

    it('see the cable being pulled, and plugged in again', async () => {
      this.gateway.setLink(false)
      expect(await guest().run('sleep 1; cat /sys/class/net/eth0/carrier')).toBe('0')
      this.gateway.setLink(true)
      expect(await guest().run('sleep 1; cat /sys/class/net/eth0/carrier')).toBe('1')
      await ping(guest())
    })
  }
}

/** Brings up eth0. */
export async function configure(guest: Guest): Promise<void> {
  await guest.run(`ifconfig lo up; ifconfig eth0 up; ${udhcpc} eth0`)
}

/** The gateway answers. */
export async function ping(guest: Guest): Promise<void> {
  expect(await guest.run('ping -c 2 -i 0.2 10.0.2.2')).toContain('2 packets received')
}
