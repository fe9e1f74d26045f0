'use strict'

// Brings batches of one partition to the server, one owner at a time: keeps a session open, backs off, fills gaps.
// It holds no policy about events; a batch that it could not bring stays with its caller.
//
// What the server had acknowledged and lost again, in a failover, shows in the producer's number. That is asked for in every
// new session, before anything else: a quiet node may have no next batch for hours, and the ring does not hold for ever.

const { FORGOTTEN_MS, inDoubt } = require('./doubt')
const { Session } = require('./session')

const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 2000
const MAX_REASONS = 10

const NOTHING = { batches: [], givenUp: [0, 0, 0] }

const REPLIES = ['OK', 'DUPLICATE', 'GAP']

/** The answer to a batch, or an error: only the script's own words tell that the server has it. */
function check(answer) {
  if (REPLIES.includes(answer.reply) && Number.isSafeInteger(answer.last)) return answer
  throw new Error('the server gave an answer that the publish script does not give')
}

class Courier {
  #redis
  #keys
  #producer
  #ring
  #log
  #session
  #connecting = false
  #pauseMs = 0
  #closed = false
  #waiting = []
  #isToldUp = false
  #reasons = new Set() // why it is down, as far as that was told
  #clock
  #heardAt // when the server answered last: what the ring held then counts, however long it is away
  #acknowledgedAt // when it took a batch last
  #tried = 0 // number of the last batch that was sent, answered or not
  #doubtfulTo = 0 // batches up to this number may stand twice when they are sent again

  /** ring: of the producer's batches; both undefined for batches of processes that died. clock: tells monotonic ms. */
  constructor({ redis, keys, producer, ring, log, clock = performance }) {
    this.#redis = redis
    this.#keys = keys
    this.#producer = producer
    this.#ring = ring
    this.#log = log
    this.#clock = clock
    this.#heardAt = this.#acknowledgedAt = clock.now()
  }

  get isUp() {
    return this.#session?.isUsable === true
  }

  get isClosed() {
    return this.#closed
  }

  /** Resolves when there is a session, however long that takes; also when the courier is closed. */
  async ready() {
    if (this.#closed || this.isUp) return
    this.connect()
    await new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Begin to connect, if that is not under way. */
  connect() {
    if (this.#connecting || this.#closed) return
    this.#connecting = true
    this.#open().finally(() => {
      this.#connecting = false
      this.#wake()
    })
  }

  /** Bring a batch; returns once the server has it, now or from an earlier copy. */
  async deliver(batch) {
    await this.deliverAll([batch])
  }

  /**
   * Bring batches of ascending numbers, all on the way at once: the numbers keep their order whatever fails.
   * Returns when the server has all; `onDone` tells of each as it arrives. Fails at the first that could not be brought.
   * held: what is held of the batches before these, if that is not the ring; it may fail where that cannot be sent now.
   */
  async deliverAll(batches, onDone, held = this.#ring) {
    const session = this.#current()
    this.#tried = Math.max(this.#tried, batches.at(-1)?.seq ?? 0)
    const doubtful = []
    try {
      const replies = await Promise.allSettled(batches.map((batch) => session.publish(batch)))
      for (let i = 0; i < batches.length; i++) {
        if (replies[i].status === 'rejected') throw replies[i].reason
        check(replies[i].value)
        // After a gap is filled, the copies that were on their way behind it were refused for the same gap.
        if (replies[i].value.reply === 'GAP') await this.#fillGap(session, batches[i], held)
        if (batches[i].seq <= this.#doubtfulTo) doubtful.push(batches[i])
        this.#acknowledged(batches[i], held)
        onDone?.(batches[i])
      }
      this.#pauseMs = 0
      this.#sayUp()
    } catch (error) {
      this.#drop(session, error)
      throw error
    } finally {
      if (doubtful.length > 0) this.#log.warn(inDoubt(doubtful))
    }
  }

  #acknowledged(batch, held) {
    this.#heardAt = this.#acknowledgedAt = this.#clock.now()
    held.push(batch, this.#heardAt)
  }

  /** Run a command on the session, if there is one. */
  async ask(question) {
    if (!this.isUp) return undefined
    const session = this.#session
    try {
      const answer = await question(session)
      this.#heardAt = this.#clock.now()
      return answer
    } catch (error) {
      if (!session.isUsable) this.#drop(session, error)
      throw error
    }
  }

  close() {
    this.#closed = true
    this.#session?.end()
    this.#wake()
  }

  #current() {
    if (this.isUp) return this.#session
    this.#session = undefined
    this.connect()
    // Why, the attempt to connect will say.
    throw new Error('not connected')
  }

  /** The server lost what it had acknowledged: send again what is still held, say how much is not, then the batch. */
  async #fillGap(session, batch, held) {
    const { reply, last } = check(await session.publish(batch))
    if (reply !== 'GAP') return
    const { batches, givenUp } = this.#isForgotten(last) ? NOTHING : held.after(last, this.#heardAt)
    const missing = batches.filter(({ seq }) => seq < batch.seq)
    await this.#sendAgain(session, last, [...missing, batch], givenUp)
  }

  /** The same for a server that does not have the last batch that it acknowledged; the next one may be long in coming. */
  async #catchUp(session) {
    if (this.#tried === 0 || !this.#producer) return
    const last = await session.last(this.#producer)
    if (this.#isForgotten(last)) {
      // What has no answer yet can have arrived.
      this.#doubtfulTo = this.#tried
      return this.#log.warn(`the server has forgotten producer=${this.#producer}, which was silent for long`)
    }
    const { batches, givenUp } = this.#ring.after(last, this.#heardAt)
    if (batches.length > 0) await this.#sendAgain(session, last, batches, givenUp)
  }

  /** Whether the server has no number of the producer because that was silent for long, rather than lost it. */
  #isForgotten(last) {
    return last === 0 && this.#clock.now() - this.#acknowledgedAt >= FORGOTTEN_MS
  }

  async #sendAgain(session, last, batches, givenUp) {
    const { producer, seq } = batches.at(-1)
    const lost = givenUp.reduce((sum, count) => sum + count, 0)
    this.#log.warn(
      `gap producer=${producer} last=${last} seq=${seq} sent_again=${batches.length} events_given_up=${lost}`,
    )
    let excuse = givenUp
    for (const each of batches) {
      const answer = check(await session.publish(each, excuse))
      if (answer.reply === 'GAP')
        throw new Error(`gap not filled at ${each.seq}, the server has ${answer.last}`)
      // Only the first may leave a gap behind it: a further one would be new, and is looked at anew.
      excuse = undefined
    }
  }

  /** A session is over, and another begun: the server may have lost something, or be ready before the next batch is. */
  #drop(session, error) {
    session.end()
    if (this.#session !== session) return
    this.#fail(error)
    this.connect()
  }

  #fail(error) {
    this.#session = undefined
    this.#pauseMs = Math.min(Math.max(this.#pauseMs * 2, FIRST_PAUSE_MS), LONGEST_PAUSE_MS)
    this.#sayDown(error)
  }

  async #open() {
    while (!this.#closed && !this.isUp) {
      await this.#pause()
      if (this.#closed) return
      try {
        const session = await this.#opened()
        if (this.#closed) return session.end()
        this.#session = session
        session.onLost((error) => this.#drop(session, error))
      } catch (error) {
        this.#fail(error)
      }
    }
  }

  /** A session whose server has everything that this producer knows it to have acknowledged, as far as that is held. */
  async #opened() {
    const session = await Session.open(this.#redis, this.#keys)
    try {
      await this.#catchUp(session)
      return session
    } catch (error) {
      session.end()
      throw error
    }
  }

  /** Between half and all of the pause, so that processes do not come back in step. */
  async #pause() {
    if (this.#pauseMs === 0) return
    const ms = this.#pauseMs * (0.5 + Math.random() / 2)
    await new Promise((resolve) => setTimeout(resolve, ms).unref())
  }

  #wake() {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  /** One line per change, however many batches meet it. */
  #sayUp() {
    if (this.#isToldUp || this.#closed) return
    this.#isToldUp = true
    this.#reasons.clear()
    this.#log.info(`publishing to {${this.#keys.tag}}`)
  }

  /** One line per reason, however many attempts meet it: the first may be a mere reset, and what is wrong shows later. */
  #sayDown({ message }) {
    if (this.#reasons.has(message) || this.#reasons.size === MAX_REASONS || this.#closed) return
    this.#isToldUp = false
    this.#reasons.add(message)
    this.#log.warn(`cannot publish to {${this.#keys.tag}}: ${message}`)
  }
}

module.exports = { Courier }
