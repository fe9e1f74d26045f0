'use strict'

// Publishes the events of one partition. An event is safe once its batch is in Redis or on disk; Haraka's answer to its hook
// (answer.js) is held until then.
//
// direct    one batch is on its way; what arrives meanwhile is the next one, and so is what arrives before another is worth
//           its round trip (publish_interval_ms). At a low rate nothing is waited for.
// spooling  the batch in hand had no answer in time, or a bad one: it goes to disk with the number it has, and so do all
//           after it, while `#drain` brings what is on disk, oldest first. When nothing is left: direct again.
//
// One place sends at a time, in the order of the numbers: the direct attempt, or the drain after that attempt is settled.

const { setTimeout: pause } = require('node:timers/promises')

const { form } = require('./batch')
const { Deadline, LivedTime, atMost } = require('./deadline')
const { Notice } = require('./notice')
const { Patience } = require('./patience')
const { Refusal } = require('./refusal')
const { SpoolDamaged } = require('./spool')
const { Waiting, release } = require('./waiting')

const DRAIN_BYTES = 256 * 1024
const CLOSE_MS = 3000
const DISK_PAUSE_MS = 200

class Publisher {
  #producer
  #settings
  #courier
  #spool
  #counters
  #log
  #waiting
  #patience
  #seq = 0
  #inHand // {batch, events, since, lateFrom, sent}: formed, neither acknowledged nor on disk
  #isSending = false // a direct attempt is under way, of the batch in hand or of one that is on disk meanwhile
  #attempt // settles when the direct attempt is over
  #sentAt = -Infinity
  #growing // timer: the next batch may grow until then
  #acknowledged = 0 // number of the last batch that a direct attempt brought
  #spooling = false
  #keeping = false
  #keeper // settles when what is being written is on disk
  #caughtUp = false // the drain waits for the last record; nothing further goes to disk until it has it
  #told // what was said last of a disk that cannot be read
  #refusal // of the disk
  #retry // timer: the disk is tried again
  #noMemory // events are dropped, since too many wait
  #closed = false
  #woken = false
  #time // by which others are judged
  #now // when the first event of this turn came
  #watch

  constructor({ producer, settings, courier, spool, counters, log }) {
    this.#producer = producer
    this.#settings = settings
    this.#courier = courier
    this.#spool = spool
    this.#counters = counters
    this.#log = log
    this.#patience = new Patience(settings)
    this.#time = new LivedTime(this.#patience.tickMs)
    this.#waiting = new Waiting(settings.memory_max_mb * 1e6)
    this.#refusal = new Refusal(settings.on_full, log)
    this.#noMemory = new Notice(log)
  }

  get spoolBytes() {
    return this.#spool.bytes
  }

  get isIdle() {
    return !this.#inHand && this.#waiting.isEmpty && !this.#keeping && this.#spool.isEmpty
  }

  /** Take an event; `answer` is held until it is safe, or has waited long enough, or is dropped. Never throws. */
  add(type, body, answer) {
    // Events of one turn of the event loop have one instant: it is asked for once.
    if (!this.#woken) this.#now = this.#begin()
    if (answer) answer.hold()
    else this.#counters.unsafe++
    const event = { type, body, at: this.#now, answer }
    if (this.#waiting.isFull)
      this.#noMemory.begin(`events dropped: memory_max_mb=${this.#settings.memory_max_mb}`)
    if (this.#waiting.isFull || this.#refusal.isDropping) return this.#drop([event])
    this.#waiting.push(event)
    if (this.#woken) return
    this.#woken = true
    // Not in the hook itself: events of one turn of the event loop go together, and the hook returns at once.
    queueMicrotask(() => {
      this.#woken = false
      this.#turn()
      this.#waiting.settle()
    })
  }

  /** Look from now on, if that is not done already; returns the instant. */
  #begin() {
    if (this.#watch) return this.#time.now()
    this.#watch = setInterval(() => this.#look(), this.#patience.tickMs)
    return this.#time.look()
  }

  /** Bring what is there if that is quick; the rest, and what still comes, goes to disk. The courier stays open. */
  async close() {
    let isOver = false
    const end = new Deadline(CLOSE_MS, () => (isOver = true))
    while (!this.isIdle && !isOver && this.#courier.isUp) await pause(10)
    end.clear()
    this.#closed = true
    this.#spoolFrom('closing')
    this.#caughtUp = false
    this.#refusal.retry()
    this.#keep()
    await this.#keeper
    if (this.#refusal.isOn) this.#loseRest()
    await this.#spool.close()
  }

  /** Closing, and neither the server nor the disk takes what is in memory. */
  #loseRest() {
    const events = [...(this.#inHand?.events ?? []), ...this.#waiting.takeBefore(Infinity)]
    this.#inHand = undefined
    this.#refusal.forget()
    if (events.length > 0) this.#log.error(`${events.length} events lost at the end: no room to keep them`)
    this.#drop(events)
  }

  #turn() {
    if (this.#spooling) return this.#keep()
    if (this.#isSending || this.#waiting.isEmpty || this.#grows()) return
    this.#inHand = this.#form()
    this.#attempt = this.#send(this.#inHand)
  }

  /** Whether the next batch is still to grow; then there is a timer for its end. */
  #grows() {
    const ms = this.#patience.growsMs(this.#sentAt, this.#waiting.count, performance.now())
    if (ms <= 0) return false
    if (!this.#growing) {
      this.#growing = setTimeout(() => {
        this.#growing = undefined
        this.#turn()
      }, ms)
    }
    return true
  }

  #form() {
    const { batch_max_events: events, batch_max_kb: kilobytes } = this.#settings
    const taken = this.#waiting.take(events, kilobytes * 1024)
    if (this.#waiting.isHalfEmpty) this.#noMemory.end()
    const batch = form(this.#producer, ++this.#seq, taken)
    return { batch, events: taken, since: taken[0].at, lateFrom: this.#time.now() }
  }

  async #send(hand) {
    this.#isSending = true
    const sentAt = (this.#sentAt = performance.now())
    hand.lateFrom = this.#time.now()
    if (this.#courier.isUp) hand.sent ??= Date.now()
    try {
      await this.#courier.deliver(hand.batch)
    } catch (error) {
      return this.#spoolFrom(error.message)
    } finally {
      this.#isSending = false
    }
    this.#acknowledged = hand.batch.seq
    this.#counters.count(hand.batch, performance.now() - sentAt)
    // It can be on disk by now, or will be in a moment; then the drain passes it over.
    if (this.#inHand === hand) this.#inHand = undefined
    this.#turn()
    // The client writes in the next phase of the loop. What Haraka does with these can take milliseconds, and comes after
    // that, while the server works.
    if (this.#isSending) setImmediate(release, hand.events)
    else release(hand.events)
  }

  #spoolFrom(reason) {
    if (this.#spooling) return
    this.#spooling = true
    this.#log.debug(`spooling: ${reason}`)
    this.#keep()
    this.#drain()
  }

  /** Put the batch in hand, then all that follow, on disk: one write and one fsync at a time. */
  #keep() {
    if (this.#keeping || this.#caughtUp || this.#refusal.isResting) return
    this.#keeping = true
    this.#keeper = this.#keepAll()
  }

  async #keepAll() {
    while (this.#spooling && !this.#caughtUp && (this.#inHand || !this.#waiting.isEmpty)) {
      this.#inHand ??= this.#form()
      if (!(await this.#store(this.#inHand))) break
    }
    this.#keeping = false
    if (!this.#inHand && this.#waiting.isEmpty) this.#refusal.end()
    // A write that took so long that its batch went directly meanwhile: its record is still to be passed over.
    if (!this.#spooling && !this.#spool.isEmpty) this.#spoolFrom('late record')
  }

  async #store(hand) {
    try {
      await this.#spool.append(hand.batch, hand.sent)
    } catch (error) {
      this.#stuck(error)
      return false
    }
    if (this.#inHand === hand) this.#inHand = undefined
    this.#counters.spooled += hand.batch.events
    release(hand.events)
    return true
  }

  /** The batch in hand stays: its number is given. Others as on_full says, or in memory. */
  #stuck(error) {
    // A full spool has room again when something is drained; a disk that failed is tried again.
    clearTimeout(this.#retry)
    if (this.#refusal.begin(error)) this.#retry = setTimeout(() => this.#unstick(), DISK_PAUSE_MS).unref()
    if (this.#refusal.isDropping) this.#drop(this.#waiting.takeBefore(Infinity))
  }

  #unstick() {
    if (!this.#refusal.isResting) return
    this.#refusal.retry()
    this.#turn()
  }

  async #drain() {
    while (this.#spooling && !this.#closed) {
      await this.#attempt
      await this.#courier.ready()
      if (this.#closed) return
      try {
        if (!(await this.#drainSome()) && (await this.#finish())) return
      } catch (error) {
        this.#caughtUp = false
        this.#keep()
        // The server is there, so it was the disk.
        if (this.#courier.isUp) {
          this.#tell(error)
          await pause(DISK_PAUSE_MS)
        } else this.#log.debug(`drain: ${error.message}`)
      }
    }
  }

  /** What is on disk cannot be read. The same trouble is told once, however often it is met. */
  #tell(error) {
    if (error instanceof SpoolDamaged) {
      this.#counters.dropped += error.events
      this.#counters.damaged++
    }
    if (this.#told !== error.message) this.#log.error(`spool: ${error.message}`)
    this.#told = error.message
  }

  /** Bring the oldest batches on disk; false when there are none. */
  async #drainSome() {
    const batches = await this.#spool.peek(DRAIN_BYTES)
    if (batches.length === 0) return false
    const fresh = batches.filter(({ seq }) => seq > this.#acknowledged)
    for (const batch of batches) if (batch.seq <= this.#acknowledged) this.#spool.drained(batch)
    try {
      await this.#courier.deliverAll(fresh, (batch) => {
        this.#spool.drained(batch)
        this.#counters.count(batch)
        this.#counters.drained += batch.events
      })
    } finally {
      await this.#spool.shrink()
      this.#unstick()
    }
    return true
  }

  /**
   * Nothing on disk: direct again. A record that is just being written is waited for first, and no other begun; but a
   * disk that hangs must not keep batches from a server that is there.
   */
  async #finish() {
    this.#caughtUp = true
    await atMost(this.#settings.spool_after_ms, this.#keeper)
    if (!this.#caughtUp || !this.#spool.isEmpty) return false
    this.#caughtUp = this.#spooling = false
    this.#refusal.forget()
    // A batch that the disk did not take still comes before all others.
    if (this.#inHand) this.#attempt = this.#send(this.#inHand)
    else this.#turn()
    return true
  }

  #drop(events) {
    this.#counters.dropped += events.length
    release(events)
  }

  /** Runs while anything waits: a reply that is late, answers that have waited long enough. */
  #look() {
    const now = this.#time.look()
    if (!this.#inHand && this.#waiting.isEmpty) {
      clearInterval(this.#watch)
      this.#watch = undefined
      return
    }
    if (this.#patience.isLate(this.#inHand?.lateFrom ?? this.#waiting.since, now)) {
      // A write that hangs is what `#finish` gives its time to already: it must not begin anew with each look.
      if (!this.#keeping) this.#caughtUp = false
      this.#spoolFrom('no answer yet')
      this.#keep()
    }
    this.#letGo(this.#patience.limit(this.#refusal.isOn, now))
  }

  #letGo(limit) {
    if (this.#patience.isHolding(this.#refusal.isOn)) this.#drop(this.#waiting.takeBefore(limit))
    else this.#counters.unsafe += this.#waiting.releaseBefore(limit)
    if (this.#inHand?.since < limit) this.#counters.unsafe += release(this.#inHand.events)
  }
}

module.exports = { Publisher }
