/** What pciutils' lspci reads in the bytes of a configuration space: a second opinion, by others. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Why nothing can be asked, or undefined. */
export const lspciMissing: string | undefined =
  spawnSync('lspci', ['--version']).error === undefined ? undefined : 'lspci is not installed (apt-get install pciutils)'

export interface LspciRegion {
  readonly bar: number
  readonly kind: 'io' | 'memory32' | 'memory64'
  readonly prefetchable: boolean
  /** Undefined where there is none yet. */
  readonly address: number | undefined
  /** It is not decoded. */
  readonly disabled: boolean
}

/** A vendor capability of virtio. */
export interface LspciVirtioCapability {
  readonly at: number
  /** As lspci has it; it does not know all. */
  readonly type: 'CommonCfg' | 'Notify' | 'ISR' | 'DeviceCfg' | '<unknown>'
  readonly bar: number
  readonly offset: number
  readonly size: number
  readonly multiplier?: number
}

export interface LspciMsix {
  readonly at: number
  readonly enabled: boolean
  readonly masked: boolean
  readonly count: number
  readonly table: { readonly bar: number; readonly offset: number }
  readonly pba: { readonly bar: number; readonly offset: number }
}

export interface LspciDevice {
  /** Base class and subclass. */
  readonly class: number
  readonly vendor: number
  readonly device: number
  readonly revision: number
  readonly subsystemVendor: number
  readonly subsystem: number
  /** `BusMaster`: whether lspci shows it with a plus. */
  readonly control: Readonly<Record<string, boolean>>
  readonly status: Readonly<Record<string, boolean>>
  readonly pin: string | undefined
  readonly line: number | undefined
  readonly regions: readonly LspciRegion[]
  readonly msix: LspciMsix | undefined
  /** In the order of the list. */
  readonly virtio: readonly LspciVirtioCapability[]
  /** Titles of all capabilities in the order of the list, those of virtio too. */
  readonly capabilities: readonly { readonly at: number; readonly title: string }[]
  /** All that it says. */
  readonly text: string
}

/** Bytes as `lspci -x` prints them, and `lspci -F` reads them. */
export function dumpOf(config: Uint8Array): string {
  const lines = ['00:01.0 device']
  for (let at = 0; at < config.length; at += 16) lines.push(`${hex(at)}: ${[...config.subarray(at, at + 16)].map(hex).join(' ')}`)
  return `${lines.join('\n')}\n`
}

const hex = (value: number): string => value.toString(16).padStart(2, '0')

/** Asks lspci. @throws Error where it does not take the bytes for a function, or complains of them */
export function lspci(config: Uint8Array): LspciDevice {
  const folder = mkdtempSync(join(tmpdir(), 'virtgen-lspci-'))
  try {
    const file = join(folder, 'dump')
    writeFileSync(file, dumpOf(config))
    const { stdout, stderr, status } = spawnSync('lspci', ['-F', file, '-n', '-vvv'], { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } })
    // Modules of a kernel are none of the bytes' business.
    const complaints = stderr.split('\n').filter((line) => line !== '' && !line.includes('libkmod'))
    if (status !== 0 || complaints.length > 0) throw new Error(`lspci: ${complaints.join('; ')}`)
    return parse(stdout)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function parse(text: string): LspciDevice {
  const [, classCode, vendor, device] = found(text, /^\S+ ([0-9a-f]{4}): ([0-9a-f]{4}):([0-9a-f]{4})/)
  const subsystem = /^\tSubsystem: ([0-9a-f]{4}):([0-9a-f]{4})/m.exec(text)
  const interrupt = /^\tInterrupt: pin (\S+) routed to IRQ (\d+)/m.exec(text)
  return {
    class: Number.parseInt(classCode as string, 16),
    vendor: Number.parseInt(vendor as string, 16),
    device: Number.parseInt(device as string, 16),
    revision: Number.parseInt(/\(rev ([0-9a-f]+)\)/.exec(text)?.[1] ?? '0', 16),
    subsystemVendor: Number.parseInt(subsystem?.[1] ?? '0', 16),
    subsystem: Number.parseInt(subsystem?.[2] ?? '0', 16),
    control: bits(text, 'Control'),
    status: bits(text, 'Status'),
    pin: interrupt?.[1],
    line: interrupt?.[2] === undefined ? undefined : Number(interrupt[2]),
    regions: regions(text),
    msix: msix(text),
    virtio: virtio(text),
    capabilities: [...text.matchAll(/^\tCapabilities: \[([0-9a-f]+)\] (.*)$/gm)].map(([, at, title]) => ({
      at: Number.parseInt(at as string, 16),
      title: title as string,
    })),
    text,
  }
}

function found(text: string, pattern: RegExp): RegExpExecArray {
  const match = pattern.exec(text)
  if (!match) throw new Error(`lspci says no such thing as ${pattern}:\n${text}`)
  return match
}

/** `Mem+ BusMaster-` */
function bits(text: string, line: string): Record<string, boolean> {
  const words = found(text, new RegExp(`^\\t${line}: (.*)$`, 'm'))[1] as string
  return Object.fromEntries([...words.matchAll(/(\S+?)([+-])(?= |$)/g)].map(([, name, sign]) => [name, sign === '+']))
}

function regions(text: string): LspciRegion[] {
  const lines = text.matchAll(/^\tRegion (\d): (Memory|I\/O ports) at (\S+)(?: \((64|32)-bit, (non-)?prefetchable\))?(.*)$/gm)
  const all = [...lines].map(([, bar, what, address, width, not, rest]) => ({
    bar: Number(bar),
    kind: what === 'Memory' ? (`memory${width as '32' | '64'}` as const) : ('io' as const),
    prefetchable: what === 'Memory' && not === undefined,
    address: /^[0-9a-f]+$/.test(address as string) ? Number.parseInt(address as string, 16) : undefined,
    disabled: (rest as string).includes('[disabled]'),
  }))
  // Of a dump, lspci shows the upper half of a 64-bit address a second time, as a BAR of its own.
  return all.filter(({ bar }) => !all.some((below) => below.kind === 'memory64' && below.bar === bar - 1))
}

function msix(text: string): LspciMsix | undefined {
  const match =
    /\[([0-9a-f]+)\] MSI-X: Enable([+-]) Count=(\d+) Masked([+-])\n\s+Vector table: BAR=(\d) offset=([0-9a-f]+)\n\s+PBA: BAR=(\d) offset=([0-9a-f]+)/.exec(
      text,
    )
  if (!match) return undefined
  const [, at, enabled, count, masked, tableBar, tableOffset, pbaBar, pbaOffset] = match
  return {
    at: Number.parseInt(at as string, 16),
    enabled: enabled === '+',
    masked: masked === '+',
    count: Number(count),
    table: { bar: Number(tableBar), offset: Number.parseInt(tableOffset as string, 16) },
    pba: { bar: Number(pbaBar), offset: Number.parseInt(pbaOffset as string, 16) },
  }
}

function virtio(text: string): LspciVirtioCapability[] {
  const pattern =
    /\[([0-9a-f]+)\] Vendor Specific Information: VirtIO: (\S+)\n\s+BAR=(\d+) offset=([0-9a-f]+) size=([0-9a-f]+)(?: multiplier=([0-9a-f]+))?/g
  return [...text.matchAll(pattern)].map(([, at, type, bar, offset, size, multiplier]) => ({
    at: Number.parseInt(at as string, 16),
    type: type as LspciVirtioCapability['type'],
    bar: Number(bar),
    offset: Number.parseInt(offset as string, 16),
    size: Number.parseInt(size as string, 16),
    ...(multiplier !== undefined && { multiplier: Number.parseInt(multiplier, 16) }),
  }))
}
