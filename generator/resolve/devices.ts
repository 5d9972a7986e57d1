/** The table of device ids: that of the common chapter, and devices that came beside it. */
import type { DeviceId } from '../model.ts'
import type { Path } from '../source.ts'
import type { ChapterScope } from './workspace.ts'

export function resolveDevices(scopes: readonly ChapterScope[]): DeviceId[] {
  const devices = new Map<number, DeviceId>()
  const ids = new Map<string, number>()
  const add = (scope: ChapterScope, path: Path, device: DeviceId): void => {
    const other = devices.get(device.id)
    if (other)
      scope.report(
        'duplicate-id',
        path,
        `the id ${device.id} belongs to "${other.name}" (${other.title})`,
        'ids are assigned by the specification; see the table in content.yaml',
      )
    else devices.set(device.id, device)
    ids.set(device.name, device.id)
  }
  for (const scope of scopes) {
    for (const [name, { id, title, linux }] of Object.entries(scope.ast.devices ?? {})) {
      const path: Path = ['devices', name]
      if (ids.has(name)) scope.report('duplicate-id', path, `"${name}" has the id ${ids.get(name)} in another table`, undefined, 'key')
      else add(scope, [...path, 'id'], { id, name, title, linux: scope.linux(name, path, linux ?? 'none') })
    }
  }
  for (const scope of scopes) {
    const { id, kind, name, title } = scope.ast
    if (id === undefined) {
      if (kind === 'device') scope.report('missing-key', ['name'], 'a device needs an `id`', undefined, 'key')
      continue
    }
    const listed = ids.get(name)
    if (kind !== 'device')
      scope.report('misplaced-attribute', ['id'], `only devices have an \`id\`, and this is of the kind ${kind}`, undefined, 'key')
    else if (listed === undefined) add(scope, ['id'], { id, name, title: title ?? name, linux: { name: null } })
    else if (listed !== id) scope.report('duplicate-id', ['id'], `"${name}" has the id ${id}, the table of ids says ${listed}`)
  }
  return [...devices.values()].sort((a, b) => a.id - b.id)
}
