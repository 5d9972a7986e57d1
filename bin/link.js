// npm links the commands of dependencies, not those of the package itself: this makes `npx virtgen` work inside the repository.
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('../node_modules/.bin/', import.meta.url))
const command = fileURLToPath(new URL('virtgen.js', import.meta.url))

mkdirSync(folder, { recursive: true })
if (process.platform === 'win32') {
  writeFileSync(`${folder}virtgen.cmd`, `@node "${command}" %*\r\n`)
} else {
  rmSync(`${folder}virtgen`, { force: true })
  symlinkSync('../../bin/virtgen.js', `${folder}virtgen`)
  chmodSync(command, 0o755)
}
