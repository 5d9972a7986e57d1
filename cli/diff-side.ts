/** One side of `virtgen diff`: a folder, a file of facts, a git revision, or virtgen's own description. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join, resolve as resolvePath } from 'node:path'
import { docsOf, type Item, surfaceOf } from '../generator/changes/index.ts'
import { type Facts, factsOf } from '../generator/facts.ts'
import { checkShapes, joinLoaded, type Loaded, loadFolders, resolve, SourceFile } from '../generator/index.ts'
import { type Call, DescriptionError, Failure, UsageError } from './command.ts'
import { packageRoot } from './package-root.ts'

const ownSpec = join(packageRoot, 'spec')

/** @throws Failure for what is none of them, DescriptionError where a description has mistakes. */
export function readSide(call: Call, word: string | undefined): Item[] {
  const path = word === undefined ? ownSpec : resolvePath(call.host.folder, word)
  if (!existsSync(path)) return itemsOf(loadRevision(call, word as string))
  if (statSync(path).isDirectory()) return itemsOf((builtin) => loadFolders([{ folder: path, builtin }], call.host.folder))
  return surfaceOf(readFacts(path, word as string))
}

/** A description with the table of device ids stands alone; one without extends virtgen's own. */
function itemsOf(load: (builtin: boolean) => Loaded): Item[] {
  const alone = load(true)
  const isWhole = alone.files.some(({ ast }) => ast.devices !== undefined)
  const { model, problems } = resolve(isWhole ? alone : joinLoaded(loadFolders([{ folder: ownSpec, builtin: true }]), load(false)))
  if (problems.length > 0) throw new DescriptionError(problems)
  const items = surfaceOf(factsOf(model), docsOf(model))
  const chapters = new Set(alone.files.map(({ ast }) => ast.name))
  return isWhole ? items : items.filter(({ scope }) => chapters.has(scope))
}

function readFacts(path: string, word: string): Facts {
  const wrong = (why: string): Failure => new Failure(`${word} is no file of facts: ${why}`, 'virtgen facts --json writes one')
  let facts: Facts
  try {
    facts = JSON.parse(readFileSync(path, 'utf8')) as Facts
  } catch (error) {
    throw wrong((error as Error).message)
  }
  const lists = ['devices', 'features', 'constants', 'structs', 'registers', 'queues'] as const
  for (const list of lists) if (!Array.isArray(facts?.[list])) throw wrong(`it has no list "${list}"`)
  return facts
}

/** The YAML files of a git revision. */
function loadRevision(call: Call, revision: string): (builtin: boolean) => Loaded {
  const git = (...words: string[]): string => {
    const { status, stdout, stderr, error } = spawnSync('git', words, { cwd: call.host.folder, encoding: 'utf8', maxBuffer: 1 << 28 })
    if (error) throw new Failure(`git cannot be run: ${error.message}`, `"${revision}" is neither a file nor a folder, and revisions need git`)
    if (status !== 0)
      throw new Failure(
        `"${revision}" is no file, no folder and no git revision: ${stderr.trim().split('\n')[0]}`,
        'name a folder of YAML files, a JSON file of facts, or a revision such as HEAD~1',
      )
    return stdout
  }
  const commit = git('rev-parse', '--verify', '--quiet', '--end-of-options', `${revision}^{commit}`).trim()
  const folder = call.options.text('path') ?? 'spec'
  if (folder.startsWith('/') || folder.split('/').includes('..')) throw new UsageError(`--path is a folder inside the repository, not "${folder}"`)
  const root = git('rev-parse', '--show-toplevel').trim()
  const names = git('-C', root, 'ls-tree', '-r', '-z', '--name-only', commit, '--', folder)
    .split('\0')
    .filter((name) => /\.ya?ml$/.test(name))
  if (names.length === 0) throw new Failure(`${revision} has no *.yaml below ${folder}/`, 'name the folder with --path')
  const texts = names.sort().map((name) => [name, git('-C', root, 'show', `${commit}:${name}`)] as const)
  return (builtin) => checkShapes(texts.map(([name, text]) => new SourceFile(`${revision}:${name}`, name.slice(folder.length + 1), text, builtin)))
}
