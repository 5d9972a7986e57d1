/** A console's port joined with streams of Node. */
import { PassThrough, Writable } from 'node:stream'
import { setTimeout } from 'node:timers/promises'
import { Console } from 'virtgen/devices/console'
import { ConsoleDriver } from 'virtgen/driver/console'
import { joinPort } from 'virtgen/node'
import { testMachine } from 'virtgen/testing'
import { describe, expect, it } from 'vitest'

async function machine(console_ = new Console({ queueSize: 8 })) {
  const { driver } = await testMachine(console_, ConsoleDriver)
  let input = ''
  driver.onInput(({ data }) => {
    input += Buffer.from(data).toString()
  })
  return { driver, port: console_.port(0), input: () => input }
}

describe('a joined port', () => {
  it('carries bytes both ways', async () => {
    const { driver, port, input } = await machine()
    const keyboard = new PassThrough()
    const screen = new PassThrough()
    joinPort(port, { input: keyboard, output: screen })
    keyboard.write('ls\n')
    await driver.output(Buffer.from('file'))
    await setTimeout(10)
    expect([input(), screen.read().toString()]).toEqual(['ls\n', 'file'])
  })

  it('keeps the guest’s buffer until the stream has room', async () => {
    const { driver, port } = await machine()
    let release = (): void => {}
    const slow = new Writable({
      highWaterMark: 4,
      write: (_, __, done) => {
        release = done
      },
    })
    joinPort(port, { output: slow })
    let used = false
    const output = driver.output(Buffer.from('longer than its room')).then(() => {
      used = true
    })
    await setTimeout(10)
    expect(used).toBe(false)
    release()
    await output
  })

  it('does not wait for a stream that is gone', async () => {
    const { driver, port } = await machine()
    const gone = new Writable({ highWaterMark: 1, write: () => {} })
    joinPort(port, { output: gone })
    const first = driver.output(Buffer.from('one'))
    await setTimeout(10)
    gone.destroy()
    await first
    await driver.output(Buffer.from('two'))
  })

  it('pauses its input while the guest takes none, and loses nothing', async () => {
    const console_ = new Console({ queueSize: 8 })
    const keyboard = new PassThrough({ highWaterMark: 1 << 20 })
    joinPort(console_.port(0), { input: keyboard })
    const typed = 'x'.repeat(200_000)
    for (let at = 0; at < typed.length; at += 10_000) keyboard.write(typed.slice(at, at + 10_000))
    await setTimeout(20)
    expect([console_.port(0)?.waiting, keyboard.isPaused()]).toEqual([70_000, true])
    const { input } = await machine(console_)
    await setTimeout(100)
    expect(input()).toBe(typed)
  })

  it('has the size of a terminal, and follows it', async () => {
    const { driver, port } = await machine()
    const screen = Object.assign(new PassThrough(), { columns: 100, rows: 30 })
    joinPort(port, { output: screen })
    expect([driver.config.cols, driver.config.rows]).toEqual([100, 30])
    screen.columns = 120
    screen.emit('resize')
    expect(driver.config.cols).toBe(120)
  })

  it('gives the streams back', async () => {
    const { driver, port, input } = await machine()
    const keyboard = new PassThrough()
    const screen = new PassThrough()
    const leave = joinPort(port, { input: keyboard, output: screen })
    expect(() => joinPort(port, { output: screen })).toThrow('the output of port 0 goes somewhere already')
    leave()
    keyboard.write('nobody')
    await driver.output(Buffer.from('hears'))
    await setTimeout(10)
    expect([input(), screen.read(), keyboard.listenerCount('data'), screen.listenerCount('resize')]).toEqual(['', null, 0, 0])
    joinPort(port, { output: screen })
    expect(() => joinPort(undefined, {})).toThrow(TypeError)
  })
})
