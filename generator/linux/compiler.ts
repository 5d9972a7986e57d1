/** The C compiler: runs it on small programs in a folder that is removed afterwards. */
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve, sep } from 'node:path'

/** Where the headers lie. */
export interface Headers {
  path: string
  version?: string
}

export interface Compiled {
  ok: boolean
  /** Numbers of the lines of the list (after `#line 1 "virtgen"`) that have errors. */
  badLines: Set<number>
  /** The first errors, for a person. */
  errors: string[]
}

/** The compiler cannot be used, or the headers are not there: nothing can be compared. */
export class CannotCompare extends Error {}

export class Compiler {
  readonly #command: string
  readonly #include: string | undefined
  readonly #folder = mkdtempSync(join(tmpdir(), 'virtgen-'))

  /**
   * @param command - the compiler, `gcc`
   * @param include - folder with `linux/`; without it the system's
   */
  constructor(command: string, include: string | undefined) {
    this.#command = command
    this.#include = include
  }

  /** Removes the folder with everything in it. */
  dispose(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** Finds the headers. Throws CannotCompare with what to install. */
  async findHeaders(): Promise<Headers> {
    const { stdout, missing } = await this.#cc(['-E', this.#write('headers.c', headersSource)])
    if (missing) throw new CannotCompare(`the C compiler "${this.#command}" is not there: install gcc (Debian: apt-get install gcc)`)
    const where = this.#include ?? 'the include folders of the compiler'
    const found = /^# 1 "(.*linux\/virtio_config\.h)"/m.exec(stdout)
    // The compiler goes on to the system's headers where the folder has none.
    if (found === null || (this.#include !== undefined && !isBelow(found[1] as string, this.#include))) {
      throw new CannotCompare(`linux/virtio_config.h is not in ${where}: install Linux's headers (Debian: apt-get install linux-libc-dev libc6-dev)`)
    }
    if (stdout.includes('virtgen_no_stdio'))
      throw new CannotCompare("the C library's headers are missing: install them (Debian: apt-get install libc6-dev)")
    // A marker of the line may stand before what a macro expands to.
    const version = Number(/^virtgen_version\s+(?:#.*\s+)?(\d+)/m.exec(stdout)?.[1])
    const path = dirname(dirname(found[1] as string))
    // The last part is a byte that a long-term kernel outgrows; it stays at 255 then.
    return Number.isNaN(version) ? { path } : { path, version: `${version >> 16}.${(version >> 8) & 255}.${version & 255}` }
  }

  /** Checks a source without making anything of it. */
  async check(name: string, source: string): Promise<Compiled> {
    return compiled(await this.#cc(['-fsyntax-only', ...diagnostics, this.#write(name, source)]))
  }

  /** Compiles a source and runs it. The standard output is undefined where it does not compile. */
  async run(name: string, source: string, options: readonly string[] = []): Promise<Compiled & { stdout?: string }> {
    const program = join(this.#folder, 'program')
    const result = compiled(await this.#cc(['-O0', ...diagnostics, ...options, '-o', program, this.#write(name, source)]))
    if (!result.ok) return result
    const ran = await execute(program, [])
    if (ran.code !== 0) throw new Error(`the program compiled from ${name} ended with ${ran.code}: ${ran.stderr}`)
    return { ...result, stdout: ran.stdout }
  }

  /** What `readelf` says of the types of a source, all of them; undefined where it does not compile. */
  async debugInformation(name: string, source: string): Promise<string | undefined> {
    const object = join(this.#folder, 'types.o')
    const flags = ['-gdwarf-5', '-fno-eliminate-unused-debug-types', '-w', '-c', '-o', object]
    if (!compiled(await this.#cc([...flags, this.#write(name, source)])).ok) return undefined
    const { stdout, missing } = await execute('readelf', ['--wide', '--debug-dump=info', '--debug-dump=rawline', object])
    if (missing) throw new CannotCompare('readelf is not there: install binutils (Debian: apt-get install binutils)')
    return stdout
  }

  /** The macros in force at the end of a source, as `#define` lines. */
  async macros(name: string, source: string): Promise<string[]> {
    return (await this.#cc(['-E', '-dM', this.#write(name, source)])).stdout.split('\n')
  }

  /** The values of those names that are integer constants. */
  async constants(name: string, source: string, names: readonly string[]): Promise<Map<string, bigint>> {
    const asserts = names.map((each) => `_Static_assert((${each}) || 1, "");`).join('\n')
    const { badLines } = await this.check(name, `${source}#line 1 "virtgen"\n${asserts}\n`)
    const good = names.filter((_, index) => !badLines.has(index + 1))
    const prints = good
      .map((each) => `  printf("%s%llu\\n", (${each}) < 0 ? "-" : "", (unsigned long long)((${each}) < 0 ? -(${each}) : (${each})));`)
      .join('\n')
    const { stdout } = await this.run(name, `${source}#include <stdio.h>\nint main(void) {\n${prints}\n  return 0;\n}\n`)
    const values = stdout?.split('\n') ?? []
    return new Map(stdout === undefined ? [] : good.map((each, index) => [each, BigInt(values[index] as string)]))
  }

  #write(name: string, source: string): string {
    const file = join(this.#folder, name)
    writeFileSync(file, source)
    return file
  }

  #cc(options: readonly string[]): Promise<Ran> {
    const include = this.#include === undefined ? [] : ['-isystem', this.#include]
    return execute(this.#command, ['-std=gnu11', ...include, ...options])
  }
}

/** The compiler names the files of its include folders by their real paths. */
function isBelow(file: string, folder: string): boolean {
  return existsSync(folder) && realpathSync(file).startsWith(realpathSync(resolve(folder)) + sep)
}

const headersSource = `
#include <linux/virtio_config.h>
#if __has_include(<linux/version.h>)
#include <linux/version.h>
#endif
#if !__has_include(<stdio.h>)
virtgen_no_stdio
#endif
virtgen_version LINUX_VERSION_CODE
`

// Errors in the expansion of a macro are located where it is used, which is the line of the list.
const diagnostics = ['-w', '-fmax-errors=0', '-ftrack-macro-expansion=0', '-fno-diagnostics-show-caret', '-fdiagnostics-color=never']

interface Ran {
  code: number
  stdout: string
  stderr: string
  missing: boolean
}

function execute(command: string, args: readonly string[]): Promise<Ran> {
  const options = { env: { ...process.env, LC_ALL: 'C' }, maxBuffer: 1 << 28, encoding: 'utf8' as const }
  return new Promise((done) => {
    execFile(command, args, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1
      done({ code, stdout, stderr: stderr || (error?.message ?? ''), missing: (error as NodeJS.ErrnoException | null)?.code === 'ENOENT' })
    })
  })
}

function compiled({ code, stderr }: Ran): Compiled {
  const errors = stderr.split('\n').filter((line) => /(?:^|: )(?:fatal )?error: /.test(line) || line.includes('undefined reference'))
  const badLines = new Set(errors.flatMap((line) => /^virtgen:(\d+):/.exec(line)?.[1] ?? []).map(Number))
  return { ok: code === 0, badLines, errors: errors.length > 0 || code === 0 ? errors : [stderr.trim()] }
}
