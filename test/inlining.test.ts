/** What `virtgen serve` asks of the engine. */
import { execFileSync } from 'node:child_process'
import { setFlagsFromString } from 'node:v8'
import { afterEach, expect, it, vi } from 'vitest'
import { inlineMore } from '../cli/inlining.ts'

vi.mock('node:v8', () => ({ setFlagsFromString: vi.fn() }))
const asked = vi.mocked(setFlagsFromString)
const words = process.execArgv

afterEach(() => {
  process.execArgv = words
  asked.mockClear()
})

it('asks for larger functions, by an option that this engine has', () => {
  inlineMore()
  expect(asked).toHaveBeenCalledOnce()
  const [[option]] = asked.mock.calls as [[string]]
  // Another Node may have another engine: what it does not know it refuses.
  expect(execFileSync(process.execPath, [option, '--print', '1 + 1'], { encoding: 'utf8' }).trim()).toBe('2')
})

it('leaves the choice to who has made one', () => {
  inlineMore()
  const [[option]] = asked.mock.calls as [[string]]
  asked.mockClear()
  process.execArgv = ['--enable-source-maps', `${option.split('=')[0]}=500`]
  inlineMore()
  expect(asked).not.toHaveBeenCalled()
})
