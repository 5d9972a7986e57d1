/** What a new device is to be: from the options, and on a terminal from whoever sits there. */
import { join } from 'node:path'
import type { Call } from './command.ts'
import { checkId, checkName, checkNames, checkTitle, defaultId, defaultTitle, type NewDevice, none, parseId, parseYesNo } from './new-device.ts'
import { filesOf, type Place } from './new-files.ts'
import { takenDevices } from './new-taken.ts'
import { Prompt } from './prompt.ts'

/**
 * @throws UsageError for an answer that cannot be
 * @throws PromptEnded where whoever is asked gives up
 */
export async function collectAnswers(call: Call, name: string, place: Place): Promise<NewDevice> {
  const { options, host } = call
  const taken = takenDevices(join(place.folder, 'spec'), `device/${name}.yaml`)
  const check = (device: NewDevice): NewDevice => {
    filesOf(device, place)
    return device
  }
  checkName(name, taken)
  const [id, title] = [options.count('id'), options.text('title')]
  const given: NewDevice = {
    name,
    id: checkId(id ?? defaultId(taken), taken),
    title: checkTitle(title ?? defaultTitle(name)),
    hasConfig: options.has('config'),
    requests: checkNames(options.has('request') ? options.texts('request') : ['echo'], 'request'),
    events: checkNames(options.texts('event'), 'event'),
  }
  check(given)
  const terminal = options.has('yes') || options.has('json') ? undefined : host.terminal
  if (terminal === undefined) return given
  const prompt = new Prompt(terminal, call.paint)
  try {
    const device = { ...given }
    prompt.say(`A new device type ${call.paint.bold(name)}. Enter takes what stands in brackets, Ctrl-C ends without writing anything.`)
    if (id === undefined) device.id = await prompt.ask('Device id', String(device.id), (text) => checkId(parseId(text), taken))
    if (title === undefined) device.title = await prompt.ask('Title', device.title, checkTitle)
    if (!options.has('config')) device.hasConfig = await prompt.ask('With a configuration space?', 'no', parseYesNo)
    const names = (noun: 'request' | 'event', text: string): string[] => {
      const list = checkNames(text.split(/[\s,]+/).filter(Boolean), noun)
      check({ ...device, [`${noun}s`]: list })
      return list
    }
    if (!options.has('request'))
      device.requests = await prompt.ask('Requests of the driver, or "none"', device.requests.join(' '), (text) => names('request', text))
    if (!options.has('event')) device.events = await prompt.ask('Events of the device', none, (text) => names('event', text))
    return device
  } finally {
    prompt.close()
  }
}
