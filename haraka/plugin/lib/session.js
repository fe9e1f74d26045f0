'use strict'

// One connection to the node of one partition, from its opening to its first fault. Whatever goes wrong, the session is
// over and its owner opens another: which commands were executed is then answered by their numbers, not by the client.

const { createHash } = require('node:crypto')
const { readFileSync } = require('node:fs')
const path = require('node:path')

const { Deadline } = require('./deadline')
const { open, discard } = require('./endpoint')

const SCRIPT = readFileSync(path.join(__dirname, 'publish.lua'), 'utf8')
const SHA = createHash('sha1').update(SCRIPT).digest('hex')

class Session {
  #client
  #keys
  #timeoutMs
  #numberOfKeys

  /** A session whose server is the right one to write to, or an error. */
  static async open(redis, keys) {
    const session = new Session(await open(redis, keys.publish[0]), keys, redis.timeout_ms)
    try {
      // A sentinel can still name the old master, and a replica refuses only when something is written.
      if (redis.sentinels.length > 0) await session.#mustBeMaster()
      return session
    } catch (error) {
      session.end()
      throw error
    }
  }

  constructor(client, keys, timeoutMs) {
    this.#client = client
    this.#keys = keys
    this.#timeoutMs = timeoutMs
    this.#numberOfKeys = String(keys.publish.length)
  }

  get isUsable() {
    return this.#client.isOpen && this.#client.isReady
  }

  /** Be told when the connection breaks, whoever or nobody waits for an answer. */
  onLost(listener) {
    this.#client.on('error', listener)
  }

  /** Number of the last batch that the server has of a producer, 0 where it does not know it. */
  async last(producer) {
    const stored = await this.#command(['HGET', this.#keys.publish[0], producer])
    const [, seq] = /^(\d+):\d+$/.exec(stored ?? '0:0') ?? []
    if (!seq) throw new Error(`unreadable number of producer ${producer}`)
    return Number(seq)
  }

  /** {reply: 'OK' | 'DUPLICATE' | 'GAP', last}, or an error after which nothing is known. */
  async publish(batch, givenUp) {
    const rest = [this.#numberOfKeys, ...this.#keys.publish, ...batch.args(givenUp)]
    let answer
    try {
      answer = await this.#command(['EVALSHA', SHA, ...rest])
    } catch (error) {
      if (!error.message.startsWith('NOSCRIPT')) throw error
      answer = await this.#command(['EVAL', SCRIPT, ...rest])
    }
    return { reply: answer[0], last: Number(answer[1] ?? batch.seq) }
  }

  /** Headers that the workers' columns want. */
  async wanted() {
    return this.#command(['SMEMBERS', this.#keys.wanted])
  }

  /** Leave a note about this process for the status command. */
  async report(name, note) {
    return this.#command(['HSET', this.#keys.nodes, name, JSON.stringify(note)])
  }

  /** Drop the connection; what is under way is rejected. */
  end() {
    discard(this.#client)
  }

  async #mustBeMaster() {
    const [role] = await this.#command(['ROLE'])
    if (role !== 'master') throw new Error(`the server is a ${role}`)
  }

  async #command(args) {
    const deadline = new Deadline(this.#timeoutMs, () => this.end())
    try {
      return await this.#client.sendCommand(args)
    } finally {
      deadline.clear()
    }
  }
}

module.exports = { Session }
