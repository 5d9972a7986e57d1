// What `npm start` does: regenerate everything from spec/, compile it, hold it against Linux's headers, read real devices with the fresh code, and put a disk
// through it.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const colour = process.stdout.isTTY && !process.env.NO_COLOR

/** Runs one step; what it prints goes straight to the terminal. Ends the program when the step fails. */
function step(title, script, ...args) {
  console.log(colour ? `\n\u001b[1m${title}\u001b[0m` : `\n${title}`)
  const started = performance.now()
  const { status, error } = spawnSync(process.execPath, [script, ...args], { cwd: root, stdio: 'inherit' })
  if (error) console.error(error.message)
  if (status !== 0) process.exit(status ?? 1)
  console.log(`(${((performance.now() - started) / 1000).toFixed(1)} s)`)
}

// A wrong file name must not wait for four steps.
const image = process.argv[process.argv.indexOf('--image') + 1]
if (process.argv.includes('--image') && !(image && existsSync(image))) {
  console.error(`--image takes the name of a file, not ${image ?? 'nothing'}`)
  process.exit(2)
}

step('1. Generate the bindings from spec/', 'bin/virtgen.js', 'generate')
step('2. Compile them', 'node_modules/typescript/bin/tsc', '-b')
step("3. Compare with Linux's headers", 'bin/virtgen.js', 'verify')
step('4. Read real devices with the fresh bindings', 'dist/examples/real-devices.js')
step('5. Put a disk image through the virtqueue', 'dist/examples/disk.js', ...process.argv.slice(2))
