'use strict'

const assert = require('node:assert/strict')
const { describe, test } = require('node:test')

const { NOTES, build, complete } = require('../lib/event')
const { MARK, MAX_BYTES } = require('../lib/text')

const NOW = 1795373309810

function address(original, marks) {
  return { original, address: original.replace(/^<|>$/g, ''), ...marks }
}

function item(changes = {}, todo = {}) {
  return {
    num_failures: 0,
    ...changes,
    todo: {
      queue_time: NOW - 1500,
      domain: 'a.test',
      uuid: 'JOB.1.1',
      mail_from: address('<from@sender.test>'),
      rcpt_to: [address('<One@A.test>'), address('<two@a.test>')],
      notes: {},
      ...todo,
    },
  }
}

function made(type, hmail, params, context = {}) {
  const body = build[type](hmail, params, { now: NOW, node: 'mx1', ...context })
  return body === undefined ? undefined : JSON.parse(complete(type, 'id', body))
}

const delivered = (hmail, params = {}, context) => {
  const p = { host: 'mx.a.test', ip: '192.0.2.1', response: 'Ok', port: 25, mode: 'SMTP', ...params }
  return made(
    'delivered',
    hmail,
    [p.host, p.ip, p.response, 1.5, p.port, p.mode, p.rcpts ?? hmail.todo.rcpt_to, p.tls ?? true, false],
    context,
  )
}
const deferred = (hmail, params, context) => made('deferred', hmail, { delay: 64, ...params }, context)
const bounce = (hmail, message, extra, context) =>
  made('bounce', hmail, Object.assign(new Error(message), extra), context)

const MX = { exchange: '192.0.2.1', from_dns: 'mx.a.test', port: 25, priority: 0 }
const REPLIED = {
  dsn_action: 'delayed',
  dsn_smtp_code: '451',
  dsn_smtp_extc: '4.7.1',
  dsn_smtp_response: 'try later',
  dsn_status: '4.7.1',
}

describe('any event', () => {
  test('has the envelope, the message id and the queue', () => {
    const event = delivered(item())
    assert.equal(event.type, 'd')
    assert.equal(event.v, 1)
    assert.equal(event.eventId, 'id')
    assert.equal(event.timeLogged, NOW)
    assert.equal(event.timeQueued, NOW - 1500)
    assert.equal(event.node, 'mx1')
    assert.equal(event.jobId, 'JOB.1.1')
    assert.equal(event.orig, 'from@sender.test')
    assert.equal(event.queue, 'a.test')
  })

  test('leaves out what has no value, instead of sending null or an empty string', () => {
    const hmail = item({}, { mail_from: address('<>'), queue_time: undefined, uuid: '' })
    const event = delivered(hmail, { host: '', ip: undefined, response: '', port: undefined })
    for (const name of [
      'orig',
      'timeQueued',
      'jobId',
      'srcMta',
      'srcIp',
      'vmta',
      'custom',
      'dsnMta',
      'destIp',
      'dsnMsg',
    ])
      assert.equal(name in event, false, name)
    assert.equal('dlvDestinationPort' in event, false)
  })

  test('keeps the case of a recipient and takes the angle brackets off', () => {
    assert.deepEqual(delivered(item()).rcpts, [{ rcpt: 'One@A.test' }, { rcpt: 'two@a.test' }])
  })

  test('takes HELO and headers from our own notes', () => {
    const custom = { 'x-campaign': 'a "quoted"\tone', empty: '', '': 'no name' }
    const kept = { helo: 'client.example', custom }
    const event = delivered(item({}, { notes: { [NOTES]: kept } }))
    assert.equal(event.srcMta, 'client.example')
    assert.deepEqual(event.custom, { 'x-campaign': 'a "quoted"\tone' })
  })

  test("prefers the message's vmta to the server's", () => {
    assert.equal(delivered(item({}, { notes: { vmta: 'mine' } }), {}, { vmta: 'all' }).vmta, 'mine')
    assert.equal(delivered(item(), {}, { vmta: 'all' }).vmta, 'all')
  })

  test("takes srcIp from the socket, else from the notes, else from the destination's bind", () => {
    const noted = item({}, { notes: { outbound_ip: '192.0.2.8' } })
    assert.equal(delivered(noted, {}, { address: '192.0.2.9' }).srcIp, '192.0.2.9')
    assert.equal(delivered(noted).srcIp, '192.0.2.8')
    assert.equal(deferred(item(), { mx: { ...MX, bind: '192.0.2.7' } }).srcIp, '192.0.2.7')
  })

  test('is not made where the queue file could not be read', () => {
    const broken = { num_failures: 1, todo: null }
    assert.equal(made('deferred', broken, { delay: 64, err: 'Error reading queue file' }), undefined)
    assert.equal(made('bounce', broken, new Error('x')), undefined)
    assert.equal(made('delivered', broken, []), undefined)
  })

  test('is not made where no recipient has an address', () => {
    assert.equal(delivered(item({}, { rcpt_to: [address('<>')] })), undefined)
  })

  test('carries hostile text as JSON that reads back', () => {
    const hostile = 'a\u0000"\\\u2028\r\n\t\ud83d\ude00'
    assert.equal(delivered(item(), { response: hostile }).dsnMsg, hostile)
  })

  test('replaces halves of surrogate pairs', () => {
    assert.equal(delivered(item(), { response: 'a\ud800b\udc00' }).dsnMsg, 'a\ufffdb\ufffd')
  })

  test('cuts a huge value between two characters, and marks it', () => {
    const cut = delivered(item(), { response: `x${'\u20ac'.repeat(10_000)}` }).dsnMsg
    assert.ok(Buffer.byteLength(cut) <= MAX_BYTES && Buffer.byteLength(cut) > MAX_BYTES - 3)
    assert.ok(cut.endsWith(MARK))
    assert.match(cut.slice(0, -MARK.length), /^x\u20ac+$/)
    const whole = 'y'.repeat(MAX_BYTES)
    assert.equal(delivered(item(), { response: whole }).dsnMsg, whole)
    assert.notEqual(delivered(item(), { response: `${whole}y` }).dsnMsg, `${whole}y`)
    const pairs = delivered(item(), { response: `xy${'\ud83d\ude00'.repeat(5_000)}` }).dsnMsg
    assert.equal(pairs.isWellFormed(), true)
    assert.match(pairs.slice(0, -MARK.length), /^xy(\ud83d\ude00)+$/)
  })

  test('has no blanks or line ends at the ends of a value, and takes one of nothing else for none', () => {
    const hmail = item(
      {},
      { notes: { vmta: ' \t ', [NOTES]: { helo: 'h\r\n', custom: { x: '  a  b ', y: ' ' } } } },
    )
    const event = delivered(hmail, { response: ' Ok: queued\t\r\n' })
    assert.deepEqual([event.dsnMsg, event.srcMta, event.vmta], ['Ok: queued', 'h', undefined])
    assert.deepEqual(event.custom, { x: 'a  b' })
  })

  test('shows nothing of an object where a text belongs', () => {
    for (const vmta of [{}, { name: 'pool' }, ['pool'], () => 'pool', Symbol('pool'), new Map()])
      assert.equal('vmta' in delivered(item({}, { notes: { vmta, outbound_ip: vmta } })), false)
    assert.equal(delivered(item({}, { notes: { vmta: 7 } })).vmta, '7')
  })

  for (const value of [{ toString: [] }, { valueOf: 1, toString: 1 }, Object.create(null), Symbol('x')]) {
    test(`is made although ${typeof value === 'symbol' ? 'a symbol' : JSON.stringify(value)} stands where a text or number belongs`, () => {
      const marks = {
        dsn_smtp_code: value,
        dsn_smtp_response: value,
        dsn_code: value,
        dsn_msg: value,
        reason: value,
      }
      const rcpt = { user: 'a', host: 'a.test', ...marks }
      const mail = item({}, { queue_time: value, mail_from: { user: 'f', host: value }, rcpt_to: [rcpt] })
      const rows = [
        delivered(mail, { port: value, response: value }),
        deferred(mail, { err: value, fail_recips: [rcpt] }),
        bounce(mail, '550 5.1.1 no', { bounced_rcpt: [rcpt] }),
      ]
      for (const { rcpts, orig } of rows) assert.deepEqual([rcpts[0].rcpt, orig], ['a@a.test', 'f'])
    })
  }

  test('has no instant of queueing that is later than the event: a clock was set back meanwhile', () => {
    assert.equal('timeQueued' in delivered(item({}, { queue_time: NOW + 1 })), false)
    assert.equal(delivered(item({}, { queue_time: NOW })).timeQueued, NOW)
  })

  /** As Haraka's address libraries make it. */
  const parsed = (user, host, changes) => ({
    original: `<${user}@${host}>`,
    user,
    host: host.toLowerCase(),
    original_host: host,
    ...changes,
  })
  /** As Haraka 3.2 has a host: a function, for plugins that call it, which is its own text in whatever takes one. */
  const callable = (text) => Object.assign(() => text, { toString: () => text })
  for (const [what, mail_from, orig] of [
    [
      'as it was given, where its host can be called',
      parsed('Me', 'Sender.TEST', { host: callable('sender.test') }),
      'Me@Sender.TEST',
    ],
    [
      'with another host that can be called',
      parsed('me', 'sender.test', { host: callable('bounces.test') }),
      'me@bounces.test',
    ],
    ['as it was given', parsed('Me', 'Sender.TEST'), 'Me@Sender.TEST'],
    ['with another user', parsed('me', 'Sender.test', { user: 'me+a=b' }), 'me+a=b@Sender.test'],
    ['with another host', parsed('me', 'sender.test', { host: 'bounces.test' }), 'me@bounces.test'],
    ['with both', parsed('me', 'sender.test', { user: 'SRS0=x', host: 'srs.test' }), 'SRS0=x@srs.test'],
    [
      'all of it',
      parsed('me', 'sender.test', { user: 'a', host: 'b.test', original_host: 'B.test' }),
      'a@B.test',
    ],
    [
      'of a host beyond ASCII',
      parsed('me', 'b\u00fccher.test', { host: 'xn--bcher-kva.test' }),
      'me@b\u00fccher.test',
    ],
    ['made the null sender', parsed('me', 'sender.test', { user: '', host: '' }), undefined],
    ['without a host', parsed('postmaster', '', { original: '<postmaster>' }), 'postmaster'],
    ['of an old queue file', { original: '<me@sender.test>' }, 'me@sender.test'],
    ['that is no text', parsed('me', 'sender.test', { user: 5, original: 7 }), undefined],
  ]) {
    test(`has a sender that a plugin left ${what}, as the wire has it`, () => {
      assert.equal(delivered(item({}, { mail_from })).orig, orig)
    })
  }

  test('has recipients that a plugin rewrote in place as the wire has them', () => {
    const rcpt_to = [parsed('one', 'a.test', { host: 'b.test' }), parsed('Two', 'A.test')]
    assert.deepEqual(delivered(item({}, { rcpt_to })).rcpts, [{ rcpt: 'one@b.test' }, { rcpt: 'Two@A.test' }])
  })
})

describe('a delivered event', () => {
  test('lists the recipients that were accepted, not all of the message', () => {
    const hmail = item()
    assert.deepEqual(delivered(hmail, { rcpts: [hmail.todo.rcpt_to[1]] }).rcpts, [{ rcpt: 'two@a.test' }])
  })

  test('says where it went and how', () => {
    const event = delivered(item({ num_failures: 2 }))
    assert.equal(event.destIp, '192.0.2.1')
    assert.equal(event.dsnMta, 'mx.a.test')
    assert.equal(event.dlvType, 'smtp')
    assert.equal(event.dlvDestinationPort, 25)
    assert.equal(event.dlvTls, true)
    assert.equal(event.dlvAuth, false)
    assert.equal(event.dsnMsg, 'Ok')
    assert.equal(event.attempts, 3)
  })

  test('over SMTP leaves status and action to the defaults of the schema', () => {
    const event = delivered(item())
    assert.equal('dsnStatus' in event || 'dsnAction' in event, false)
  })

  test('over LMTP has the action delivered, and no destIp for a Unix socket', () => {
    const event = delivered(item(), { mode: 'LMTP', ip: '/run/lmtp.sock' })
    assert.equal(event.dlvType, 'lmtp')
    assert.equal(event.dsnAction, 'delivered')
    assert.equal('destIp' in event, false)
  })

  test('to a Unix socket has no port, which Haraka invents, and no address', () => {
    const path = '/run/lmtp.sock'
    const mx = { exchange: '192.0.2.1', path, port: 24, using_lmtp: true }
    for (const [params, context] of [
      [{ ip: path }, {}],
      [{ ip: 'run/lmtp.sock' }, { mx: { ...mx, path: 'run/lmtp.sock' } }],
    ]) {
      const event = delivered(item(), { mode: 'LMTP', port: 24, ...params }, context)
      assert.deepEqual(
        [event.dlvDestinationPort, event.destIp, event.dlvType],
        [undefined, undefined, 'lmtp'],
      )
    }
    const failed = deferred(item(), { mx, err: 'Upstream error: 451 4.3.0 x' })
    assert.deepEqual(
      [failed.dlvDestinationPort, failed.destIp, failed.dlvType],
      [undefined, undefined, 'lmtp'],
    )
  })

  test('has nothing of the marks that an earlier attempt left', () => {
    const hmail = item({}, { rcpt_to: [address('<a@a.test>', REPLIED)] })
    assert.deepEqual(delivered(hmail).rcpts, [{ rcpt: 'a@a.test' }])
  })
})

describe('a deferred event', () => {
  test('lists the recipients that failed, each with its own reply', () => {
    const failed = address('<two@a.test>', { ...REPLIED, reason: '451 4.7.1 try later' })
    const event = deferred(item({ num_failures: 1 }), {
      fail_recips: [failed],
      mx: MX,
      err: 'Some recipients temp failed: x',
    })
    assert.deepEqual(event.rcpts, [
      { rcpt: 'two@a.test', dsnStatus: '4.7.1', dsnAction: 'delayed', dsnMsg: '451 4.7.1 try later' },
    ])
    assert.equal(event.delay, 64)
    assert.equal(event.attempts, 1)
    assert.equal(event.dsnMta, 'mx.a.test')
    assert.equal(event.destIp, '192.0.2.1')
  })

  test('by a reply to the whole message has code, enhanced code and text', () => {
    const hmail = item({}, { rcpt_to: [address('<a@a.test>', REPLIED)] })
    const [rcpt] = deferred(hmail, { err: 'Upstream error: 451 4.7.1 try later' }).rcpts
    assert.equal(rcpt.dsnMsg, '451 4.7.1 try later')
  })

  test('of a host that could not be reached has class 4, whatever Haraka says', () => {
    const marks = {
      dsn_code: 550,
      dsn_msg: 'Tried all MXs a.test',
      dsn_status: '5.1.2',
      dsn_action: 'failed',
    }
    const hmail = item({}, { rcpt_to: [address('<a@a.test>', marks)] })
    assert.deepEqual(deferred(hmail, { err: 'Tried all MXs' }).rcpts, [
      { rcpt: 'a@a.test', dsnStatus: '4.1.2', dsnAction: 'delayed', dsnMsg: '450 Tried all MXs a.test' },
    ])
  })

  test('does not repeat the reply of an earlier attempt', () => {
    const marks = {
      ...REPLIED,
      reason: '451 4.7.1 try later',
      dsn_code: 550,
      dsn_msg: 'Tried all MXs a.test',
      dsn_status: '5.1.2',
    }
    const hmail = item({ num_failures: 2 }, { rcpt_to: [address('<a@a.test>', marks)] })
    const [refused] = deferred(hmail, { err: 'Tried all MXs' }).rcpts
    assert.equal(refused.dsnMsg, '450 Tried all MXs a.test')
    const [replied] = deferred(hmail, { err: 'Upstream error: 451 4.7.1 try later' }).rcpts
    assert.equal(replied.dsnMsg, '451 4.7.1 try later')
    const [untold] = deferred(hmail, { err: 'No TLS available but required by configuration.' }).rcpts
    assert.deepEqual(
      [untold.dsnStatus, untold.dsnMsg],
      ['4.0.0', 'No TLS available but required by configuration.'],
    )
  })
})

describe('a deferral of some recipients by Haraka 3.1.0 and 3.1.1, which hand on neither list nor destination', () => {
  const params = { err: 'Some recipients temp failed: <one@a.test>, <stranger@a.test>' }

  test("has each recipient's own reply, and nobody else's address", () => {
    const failed = address('<one@a.test>', { ...REPLIED, reason: '451 4.7.1 try later' })
    assert.deepEqual(deferred(item({}, { rcpt_to: [failed] }), params).rcpts, [
      { rcpt: 'one@a.test', dsnStatus: '4.7.1', dsnAction: 'delayed', dsnMsg: '451 4.7.1 try later' },
    ])
  })

  test("has nobody else's address either where the reply is lost", () => {
    const event = deferred(item({}, { rcpt_to: [address('<one@a.test>')] }), params)
    assert.equal(event.rcpts[0].dsnMsg, 'Some recipients temp failed')
    const last = bounce(item(), `Too many failures (${params.err})`, {})
    assert.equal(last.rcpts[0].dsnMsg, 'Too many failures (Some recipients temp failed)')
  })
})

describe('a bounce event', () => {
  const refused = (marks) =>
    address('<two@a.test>', {
      reason: '550 5.1.1 no such user',
      dsn_smtp_code: '550',
      dsn_smtp_extc: '5.1.1',
      dsn_smtp_response: 'no such user',
      dsn_status: '5.1.1',
      ...marks,
    })

  test('lists the recipients that were refused, with reason and category', () => {
    const event = bounce(item(), 'Some recipients failed: <two@a.test>', {
      bounced_rcpt: [refused()],
      mx: MX,
    })
    assert.deepEqual(event.rcpts, [
      {
        rcpt: 'two@a.test',
        dsnStatus: '5.1.1',
        dsnAction: 'failed',
        dsnMsg: '550 5.1.1 no such user',
        bounceCat: '550 5.1.1 no such user',
      },
    ])
    assert.equal(event.attempts, 1)
    assert.equal(event.dlvType, 'smtp')
  })

  test('lists deferred recipients whose retries are used up, with class 5, and says that they are', () => {
    const last = address('<two@a.test>', { ...REPLIED, reason: '451 4.7.1 try later' })
    const event = bounce(item({ num_failures: 3 }), 'Too many failures (Some recipients temp failed: x)', {
      deferred_rcpt: [last],
      bounced_rcpt: undefined,
    })
    assert.deepEqual(event.rcpts[0].dsnStatus, '5.7.1')
    assert.equal(event.rcpts[0].dsnMsg, 'Too many failures (451 4.7.1 try later)')
    assert.equal(event.rcpts[0].bounceCat, 'Too many failures (451 4.7.1 try later)')
    assert.equal(event.attempts, 3, 'the last failure is counted already')
  })

  test('by 5xx to the whole message lists everybody', () => {
    const hmail = item(
      { num_failures: 1 },
      { rcpt_to: [refused({ reason: undefined }), refused({ reason: undefined })] },
    )
    const event = bounce(hmail, '550 5.1.1 no such user', { mx: { ...MX, using_lmtp: true } })
    assert.equal(event.rcpts.length, 2)
    assert.equal(event.rcpts[0].dsnMsg, '550 5.1.1 no such user')
    assert.equal(event.attempts, 2, 'this attempt is not counted by Haraka')
    assert.equal(event.dlvType, 'lmtp')
  })

  test('finds an enhanced code with three digits at the head of the text', () => {
    const marks = {
      dsn_smtp_extc: undefined,
      dsn_status: undefined,
      dsn_smtp_response: '5.7.511 banned',
      reason: '550 5.7.511 banned',
    }
    const event = bounce(item(), 'Some recipients failed: x', { bounced_rcpt: [refused(marks)] })
    assert.equal(event.rcpts[0].dsnStatus, '5.7.511')
  })

  test('of a host that was never reached says that the retries are used up', () => {
    const marks = { dsn_code: 550, dsn_msg: 'Tried all MXs a.test', dsn_status: '5.1.2' }
    const hmail = item({ num_failures: 3 }, { rcpt_to: [address('<a@a.test>', marks)] })
    const [rcpt] = bounce(hmail, 'Too many failures (Tried all MXs)').rcpts
    assert.deepEqual([rcpt.dsnStatus, rcpt.dsnMsg], ['5.1.2', 'Too many failures (550 Tried all MXs a.test)'])
  })

  for (const said of ['5.1.1: unknown', 'unknown (#5.1.1)', '[5.1.1] unknown']) {
    test(`finds the enhanced code in "${said}"`, () => {
      const marks = {
        dsn_smtp_extc: undefined,
        dsn_status: undefined,
        dsn_smtp_response: said,
        reason: `550 ${said}`,
      }
      const one = bounce(item(), 'Some recipients failed: x', { bounced_rcpt: [refused(marks)] })
      const all = bounce(item({}, { rcpt_to: [refused({ ...marks, reason: undefined })] }), `550 ${said}`)
      for (const { rcpts } of [one, all])
        assert.deepEqual([rcpts[0].dsnStatus, rcpts[0].dsnMsg], ['5.1.1', `550 ${said}`])
    })
  }

  test('of garbage keeps the TAB within for the worker to clean', () => {
    const words = 'Unrecognized response from upstream server: x\ty\r\n'
    const marks = { dsn_code: 550, dsn_msg: words, dsn_status: '5.5.1' }
    const event = bounce(item({}, { rcpt_to: [address('<a@a.test>', marks)] }), words, { mx: MX })
    assert.equal(event.rcpts[0].dsnMsg, `550 ${words.trimEnd()}`)
    assert.equal(event.rcpts[0].dsnStatus, '5.5.1')
  })

  test('without any mark has the error as its message and a general status', () => {
    const event = bounce(item(), 'Error re-queueing email: EIO')
    assert.deepEqual(event.rcpts[0], {
      rcpt: 'One@A.test',
      dsnStatus: '5.0.0',
      dsnAction: 'failed',
      dsnMsg: 'Error re-queueing email: EIO',
      bounceCat: 'Error re-queueing email: EIO',
    })
  })
})
