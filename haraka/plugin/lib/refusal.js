'use strict'

// The disk that takes no batch, and what follows from it: how long nothing is tried, whether answers are held and new events
// dropped. Said once when it begins and once when it is over, however often it is tried meanwhile.

const { Notice } = require('./notice')
const { SpoolFull } = require('./spool')

class Refusal {
  #onFull
  #notice
  #isFull = false // no room, rather than a disk that failed

  /** What it is about: until a batch is written, answers may be held (on_full=hold), also while it is tried again. */
  isOn = false
  /** Nothing is to be tried: until room comes back, or for a moment where the disk failed. */
  isResting = false

  constructor(onFull, log) {
    this.#onFull = onFull
    this.#notice = new Notice(log)
  }

  /** Whether new events are dropped. A failed disk may well take the next batch: what comes meanwhile is kept in memory. */
  get isDropping() {
    return this.isResting && this.#isFull && this.#onFull === 'drop'
  }

  /** The disk took a batch not; true where trying again in a moment can help. */
  begin(error) {
    this.isOn = this.isResting = true
    this.#isFull = error instanceof SpoolFull
    this.#notice.begin(`cannot spool, on_full=${this.#onFull}: ${error.message}`)
    return !this.#isFull
  }

  retry() {
    this.isResting = false
  }

  /** Everything that waited was written. A spool that was full may be so again in a moment: that is no other state. */
  end() {
    this.isOn = this.isResting = false
    if (!this.#isFull) this.#notice.end()
  }

  /** The disk is not needed any more. */
  forget() {
    this.isOn = this.isResting = false
    this.#notice.end()
  }
}

module.exports = { Refusal }
