/** `virtgen verify`: the description held against Linux's headers. */
import { resolve } from 'node:path'
import { type Command, jsonOption, specOption, UsageError } from './command.ts'
import { loadWireModules } from './generated-modules.ts'

const largestSeed = 0xffff_ffff

export const verify: Command = {
  name: 'verify',
  arguments: '',
  summary: "compares the description with Linux's headers, through the C compiler",
  description: [
    'Numbers, sizes, offsets and the bytes of random values are compared with what gcc makes of <linux/virtio_*.h>. The description ' +
      'is about Linux 6.12: what older headers lack is listed and no mistake. Without a compiler or headers it says what to install. CC ' +
      'in the environment names another compiler.',
  ],
  options: [
    { name: 'headers', value: 'DIR', summary: "include folder with linux/, by default the system's" },
    { name: 'seed', value: 'N', summary: 'repeats the random values of an earlier run' },
    { name: 'complete', summary: 'exits with 1 also if names are absent or nothing could be compared' },
    jsonOption,
    specOption,
  ],
  examples: [
    { line: 'virtgen verify', meaning: "compare with the system's headers" },
    { line: 'virtgen verify --headers linux-6.12/usr/include --complete', meaning: 'in CI, with headers that have everything' },
  ],
  async run(call) {
    const { options, host } = call
    const seed = options.count('seed')
    if (seed !== undefined && seed > largestSeed) throw new UsageError(`--seed takes a number up to ${largestSeed}, not ${seed}`)
    const headers = options.text('headers')
    const [{ describe }, { compareWithLinux, formatLinuxReport }] = await Promise.all([
      import('./description.ts'),
      import('../generator/linux/index.ts'),
    ])
    const { model } = describe(call)
    const wire = await loadWireModules(model)
    const report = await compareWithLinux(model, {
      headers: headers === undefined ? undefined : resolve(host.folder, headers),
      cc: host.environment.CC || undefined,
      seed,
      wire,
      onProgress: (step) => call.progress(`${step} …`),
    })
    call.progress('')
    if (options.has('json')) call.printJson(report)
    else {
      call.print(formatLinuxReport(report, call.paint))
      if (report.skipped === undefined)
        call.print(
          `  compared with ${wire ? 'the generated classes and the model' : 'the model; the generated classes are not built (npm run build)'}`,
        )
    }
    const isIncomplete = report.skipped !== undefined || report.absent.length > 0
    return report.mismatches.length > 0 || (options.has('complete') && isIncomplete) ? 1 : 0
  },
}
