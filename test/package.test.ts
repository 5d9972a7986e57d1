/** The packed tarball in a project of its own, in a path with a space: what its users import, generate and type-check. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const device = `
kind: device
name: thermometer
title: Thermometer
id: 0xff01
uses: [split-ring]
features: {VIRTIO_THERMOMETER_F_ALARM: {bit: 0, requires: VIRTIO_F_VERSION_1}}
config:
  virtio_thermometer_config:
    - millikelvin: {type: le32, doc: What it measures now.}
    - alarm: {type: le32, when: VIRTIO_THERMOMETER_F_ALARM, access: rw}
structs:
  virtio_thermometer_log:
    - count: le16
    - where: virtq_desc
    - values[count]: le32
`

const program = `
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { Blk } from 'virtgen/devices/blk'
import { RateLimiter } from 'virtgen/devices/rate-limiter'
import { Rng } from 'virtgen/devices/rng'
import { MmioDevice } from 'virtgen/mmio'
import { FileBackend } from 'virtgen/node'
import { PciBus, PciDevice } from 'virtgen/pci'
import { GuestMemory } from 'virtgen/runtime'
import { VIRTIO_BLK_F_RO, VirtioBlkConfig } from 'virtgen/wire/blk'
import { VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { checkFeatures, VIRTIO_THERMOMETER_F_ALARM, VirtioThermometerLog } from './generated/wire/thermometer.js'

const value = { count: 2, where: { addr: 4096, len: 8, flags: 0, next: 0 }, values: [273150, 293150] }
const bytes = VirtioThermometerLog.encode(value)
const limiter = new RateLimiter({ operations: { perSecond: 1000 } })
const file = new FileBackend('disk.img', { size: 4096 })
const memory = GuestMemory.of(new Uint8Array(4096))
const bus = new PciBus({ interrupt: () => {} })
bus.add(1, (interrupt) => new PciDevice(new Rng({ limiter }), { memory, interrupt }))
console.log(JSON.stringify({
  transports: [new MmioDevice(new Rng({ limiter }), { memory, interrupt: () => {} }).read(8, 4), bus.readEcam(1 << 15, 4)],
  devices: [new Blk(file, { limiter }).capacity, new Rng({ limiter }).id],
  capacity: VirtioBlkConfig.decode(VirtioBlkConfig.encode({ capacity: 7 })).capacity,
  features: FeatureSet.of(VIRTIO_BLK_F_RO, VIRTIO_F_VERSION_1).toString(),
  problems: checkFeatures(FeatureSet.of(VIRTIO_THERMOMETER_F_ALARM)),
  length: bytes.length,
  log: VirtioThermometerLog.decode(bytes),
}))
`

const project = join(mkdtempSync(join(tmpdir(), 'virtgen-package-')), 'my project')

/** Runs a program in the project; what it printed belongs to the error when it fails. */
function run(file: string, ...words: string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [resolve(file), ...words], { cwd: project, encoding: 'utf8' })
  if (status !== 0) throw new Error(`${file} exited with ${status}:\n${stdout}${stderr}`)
  return stdout
}

beforeAll(() => {
  const modules = join(project, 'node_modules')
  mkdirSync(join(project, 'src'), { recursive: true })
  mkdirSync(join(project, 'spec'))
  mkdirSync(modules)
  const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as { dependencies: Record<string, string> }
  const packed = execFileSync('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', project], {
    encoding: 'utf8',
    shell: process.platform === 'win32',
  })
  const [{ filename }] = JSON.parse(packed) as [{ filename: string }]
  execFileSync('tar', ['-xzf', filename], { cwd: project })
  execFileSync('mv', ['package', join(modules, 'virtgen')], { cwd: project })
  for (const name of Object.keys(dependencies)) symlinkSync(resolve('node_modules', name), join(modules, name), 'dir')
  symlinkSync(resolve('node_modules/@types'), join(modules, '@types'), 'dir')
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'my-project', private: true, type: 'module' }))
  writeFileSync(join(project, 'spec/thermometer.yaml'), device)
  writeFileSync(join(project, 'src/main.ts'), program)
  const compilerOptions = {
    target: 'es2022',
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    noUnusedLocals: true,
    noUnusedParameters: true,
    noImplicitOverride: true,
    erasableSyntaxOnly: true,
    verbatimModuleSyntax: true,
    skipLibCheck: false,
    types: ['node'],
    rootDir: 'src',
    outDir: 'out',
  }
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['src'] }))
})

afterAll(() => rmSync(join(project, '..'), { recursive: true, force: true }))

describe('the package, installed elsewhere', () => {
  it('generates a device of its own beside the built-in ones, compiles strictly and runs', () => {
    const virtgen = join(project, 'node_modules/virtgen/bin/virtgen.js')
    expect(run(virtgen, 'generate', '--spec', 'spec', '--out', 'src/generated')).toContain('wrote')
    expect(readdirSync(join(project, 'src/generated/wire'))).toEqual(['thermometer.ts'])
    expect(run('node_modules/typescript/bin/tsc', '-p', '.')).toBe('')
    expect(JSON.parse(run(join(project, 'out/main.js')))).toEqual({
      transports: [4, 0x10441af4],
      devices: [8, 4],
      capacity: 7,
      features: '0x100000020',
      problems: [{ feature: 'VIRTIO_THERMOMETER_F_ALARM', requires: 'VIRTIO_F_VERSION_1' }],
      length: 26,
      log: { count: 2, where: { addr: 4096, len: 8, flags: 0, next: 0 }, values: [273150, 293150] },
    })
  })

  it('has the command with everything it reads', () => {
    const virtgen = join(project, 'node_modules/virtgen/bin/virtgen.js')
    expect(run(virtgen, 'decode', '--spec', 'spec', 'virtio_thermometer_config', '0e2b0400', '00000000')).toContain('273166')
    expect(run(virtgen, 'facts', '--json', 'blk')).toContain('"VIRTIO_BLK_F_RO"')
  })

  it('ships no sources, tests or fixtures', () => {
    const shipped = readdirSync(join(project, 'node_modules/virtgen'))
    expect(shipped.sort()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'bin', 'dist', 'docs', 'facts', 'package.json', 'spec', 'templates'])
  })
})
