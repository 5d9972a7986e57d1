/** Tables of requests, for what the built-in protocols do not have. Those of vhost-user are tested in vhost-user-messages.test.ts. */
import { describe, expect, it } from 'vitest'
import { emitAll } from '../generator/emit/index.ts'
import { loadText } from './support/description.ts'

function tableOf(requests: string): string {
  const model = loadText(`
kind: protocol
name: v
title: V
let: {flavour: caller}
constants:
  v_request: {values: {V_ONE: 1, V_TWO: 2}}
  v_limits: {values: {v_most: 3}}
structs:
  v_point:
    - x: le16
    - z: {type: le16, when: flavour == 1}
  v_points:
    - count: {type: le32, range: 1 .. v_most}
    - points[count]: v_point
messages:
  v_messages:
    by: request
    readable:
      - request: {type: le32, enum: v_request}
    requests:
${requests.replaceAll(/^/gm, '      ')}`)
  const files = emitAll(model)
  return files.find(({ path }) => path === 'protocol/v.ts')?.text ?? ''
}

describe('the table of a protocol', () => {
  it('has a request that is never answered', () => {
    const text = tableOf('- one: {is: V_ONE}')
    expect(text).toContain('replySize: { least: 0, most: 0 }')
    expect(text).toContain('answers: () => false')
    expect(text).toContain('reply: (): Struct => noMembers()')
  })

  it('says how long a message can be, by the range of a count and under every condition', () => {
    const text = tableOf('- one: {is: V_ONE, readable: [list: v_points]}')
    expect(text).toContain(`size: { least: ${4 + 4 + 2}, most: ${4 + 4 + 3 * 4} }`)
    expect(text).toContain('readonly caller: { readonly flavour: number }')
  })

  it('leaves the bound open where nothing says it', () => {
    const text = tableOf('- one: {is: V_ONE, readable: [count: le32, "bytes[count]": u8]}')
    expect(text).toContain('size: { least: 8, most: Number.POSITIVE_INFINITY }')
    expect(text).not.toContain('open: true')
    expect(tableOf('- one: {is: V_ONE, readable: [rest: bytes]}')).toContain('open: true')
  })

  it('counts descriptors by expressions', () => {
    const text = tableOf(
      '- one: {is: V_ONE, readable: [flags: le32], writable: [error: le32], fds: 2 if flags == 1 else 0, reply_fds: 1 if error == 0 else 0}',
    )
    expect(text).toMatch(/fds: \(request: VMessagesOneHeader\) => \(?request\.flags === 1\)? \? 2 : 0/)
    expect(text).toMatch(/replyFds: \(reply: VMessagesOneReply\) => .*reply\.error === 0\)? \? 1 : 0/)
    expect(text).toContain('answers: () => true')
  })

  it('names two requests', () => {
    const text = tableOf('- one: {is: V_ONE}\n- two: {is: V_TWO}')
    expect(text).toMatch(/one: \{\n {4}id: V_ONE,\n[\s\S]*two: \{\n {4}id: V_TWO,/)
  })
})
