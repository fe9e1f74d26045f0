'use strict'

// node bench/mail_rate.js <directory of the npm package Haraka> [messages] [pairs]: CPU time that a real Haraka takes for a
// message, with and without the plugin. Each pair is two new processes, both warmed up, that get blocks of messages in turn,
// so that what else the machine does meets both alike. Sender and sink run in this process and are not counted.

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} = require('node:fs')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')
const { setTimeout: pause } = require('node:timers/promises')

const { eventsOf } = require('../test/support/streams')
const { Valkey, freePort } = require('../test/support/valkey')

const [haraka, messages = 1000, pairs = 8] = process.argv.slice(2)
const CONNECTIONS = 10
const BLOCK = 100
const PLUGIN = path.join(__dirname, '..')
const LAB = `exports.hook_connect = function (next, c) { c.relaying = true; next() }
exports.hook_rcpt = function (next) { next(OK) }
exports.hook_get_mx = function (next) { next(OK, { exchange: '127.0.0.1', port: SINK, priority: 0 }) }`

/** Speak lines: `answer(line)` gives what is written back. */
function lines(socket, answer) {
  let rest = ''
  socket.setEncoding('latin1').on('error', () => {})
  socket.on('data', (data) => {
    const found = (rest + data).split('\r\n')
    rest = found.pop()
    for (const line of found) {
      const reply = answer(line)
      if (reply) socket.write(reply)
    }
  })
}

async function startSink(onMessage) {
  const server = net.createServer((socket) => {
    let inData = false
    socket.write('220 sink\r\n')
    lines(socket, (line) => {
      if (inData && line !== '.') return ''
      if (inData) onMessage()
      const ended = inData
      inData = !ended && /^DATA/i.test(line)
      return inData ? '354 go\r\n' : /^QUIT/i.test(line) ? '221 bye\r\n' : '250 ok\r\n'
    })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return server
}

/** Send messages over one connection. */
function send(port, count, from) {
  const body = `From: a@sender.test\r\nSubject: x\r\n\r\n${'line of text\r\n'.repeat(40)}.\r\n`
  const steps = ['EHLO client\r\n']
  for (let i = 0; i < count; i++) {
    steps.push('MAIL FROM:<a@sender.test>\r\n', `RCPT TO:<r${from + i}@a.test>\r\n`, 'DATA\r\n', body)
  }
  steps.push('QUIT\r\n')
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.on('close', resolve).on('error', reject)
    let step = 0
    lines(socket, (line) =>
      /^[23]\d\d /.test(line) ? steps[step++] : /^[45]/.test(line) && reject(new Error(line)),
    )
  })
}

async function listening(port) {
  for (let i = 0; i < 100; i++) {
    const socket = net.connect(port, '127.0.0.1')
    const found = await new Promise((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    })
    socket.destroy()
    if (found) return
    await pause(100)
  }
  throw new Error('Haraka did not start')
}

/** CPU time of all threads, to the nanosecond. */
function cpuMs(pid) {
  const threads = readdirSync(`/proc/${pid}/task`)
  const times = threads.map((id) =>
    Number(readFileSync(`/proc/${pid}/task/${id}/schedstat`, 'latin1').split(' ')[0]),
  )
  return times.reduce((sum, each) => sum + each, 0) / 1e6
}

function instance(port, sink, redis, plugins) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'accounting-haraka-'))
  for (const name of ['config', 'plugins', 'node_modules']) mkdirSync(path.join(dir, name))
  const write = (name, text) => writeFileSync(path.join(dir, name), text)
  write('config/smtp.ini', `listen=127.0.0.1:${port}\nnodes=0\n`)
  write('config/outbound.ini', 'local_mx_ok=true\nenable_tls=false\n')
  write('config/connection.ini', readFileSync(path.join(haraka, 'config', 'connection.ini')))
  write('config/log.ini', 'level=warn\n')
  write('config/me', 'mx1.bench\n')
  write('config/plugins', plugins.join('\n'))
  write('config/accounting_stream.ini', `[redis]\nport=${redis}\n`)
  write('plugins/lab.js', LAB.replace('SINK', sink))
  symlinkSync(PLUGIN, path.join(dir, 'node_modules', 'haraka-plugin-accounting-stream'))
  return dir
}

/** One Haraka with its sink. */
class Subject {
  cpuMs = 0
  seconds = 0
  sent = 0
  #delivered = 0

  static async start(valkey, plugins) {
    const subject = new Subject()
    subject.sink = await startSink(() => subject.#delivered++)
    subject.port = await freePort()
    subject.dir = instance(subject.port, subject.sink.address().port, valkey.port, plugins)
    subject.child = spawn(process.execPath, [path.join(haraka, 'haraka.js')], {
      env: { ...process.env, HARAKA: subject.dir },
      stdio: 'ignore',
    })
    await listening(subject.port)
    return subject
  }

  /** Messages through to the sink, and their hooks. */
  async relay(count) {
    const end = this.#delivered + count
    const each = count / CONNECTIONS
    await Promise.all(Array.from({ length: CONNECTIONS }, (_, i) => send(this.port, each, i * each)))
    while (this.#delivered < end) await pause(5)
    await pause(50)
  }

  async measure(count) {
    const [cpu, begin] = [cpuMs(this.child.pid), performance.now()]
    await this.relay(count)
    this.cpuMs += cpuMs(this.child.pid) - cpu
    this.seconds += (performance.now() - begin - 50) / 1000
    this.sent += count
  }

  get cpuPerMessage() {
    return this.cpuMs / this.sent
  }

  get rate() {
    return this.sent / this.seconds
  }

  async stop() {
    this.child.kill('SIGKILL')
    await once(this.child, 'exit')
    this.sink.close()
    rmSync(this.dir, { recursive: true, force: true })
  }
}

/** [without, with], measured in turn: AB BA AB … */
async function pair(valkey) {
  const plain = await Subject.start(valkey, ['lab'])
  const accounted = await Subject.start(valkey, ['lab', 'accounting-stream'])
  try {
    for (let done = 0; done < messages; done += BLOCK) {
      await plain.relay(BLOCK)
      await accounted.relay(BLOCK)
    }
    for (let done = 0; done < messages; done += BLOCK) {
      const order = (done / BLOCK) % 2 ? [accounted, plain] : [plain, accounted]
      for (const subject of order) await subject.measure(BLOCK)
    }
  } finally {
    await plain.stop()
    await accounted.stop()
  }
  return [plain, accounted]
}

const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]

async function main() {
  const valkey = await Valkey.start()
  const differences = []
  const without = []
  for (let i = 0; i < pairs; i++) {
    const [plain, accounted] = await pair(valkey)
    differences.push((accounted.cpuPerMessage / plain.cpuPerMessage - 1) * 100)
    without.push(plain.cpuPerMessage)
    console.log(
      `pair ${i + 1}: CPU/message without ${plain.cpuPerMessage.toFixed(3)} ms, with ${accounted.cpuPerMessage.toFixed(3)} ms,`,
      `${differences.at(-1).toFixed(1)} %; messages/s ${plain.rate.toFixed(0)} and ${accounted.rate.toFixed(0)}`,
    )
  }
  const mean = differences.reduce((sum, each) => sum + each, 0) / differences.length
  const deviation = Math.sqrt(
    differences.reduce((sum, each) => sum + (each - mean) ** 2, 0) / (differences.length - 1),
  )
  console.log(
    `CPU/message without, median ${median(without).toFixed(3)} ms; difference median ${median(differences).toFixed(1)} %,`,
    `mean ${mean.toFixed(1)} % +- ${(deviation / Math.sqrt(differences.length)).toFixed(1)} % (standard error);`,
    `events in the streams ${(await eventsOf(valkey)).delivered.length}`,
  )
  await valkey.stop()
}

main()
