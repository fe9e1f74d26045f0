'use strict'

// The spool of one publisher: batches that wait on disk while Redis does not take them, in the order of their numbers.
// A chain of files, so that room comes back while it is drained. What is here survives the process (see claims.js).

const path = require('node:path')

const { SUFFIX, SpoolFile, asideOf } = require('./spool_file')
const { encode } = require('./spool_record')

const FILE_BYTES = 8 * 1024 * 1024

/** No room within spool_max_mb. */
class SpoolFull extends Error {
  code = 'SPOOLFULL'
}

/** A part of what is on disk cannot be read, and was passed over; its file will be kept, out of the way. */
class SpoolDamaged extends Error {
  constructor({ stop, why }, { at, bytes, events }, file) {
    const what = why ? `${stop} record at ${at} (${why})` : `${stop} record at ${at}`
    super(`${what} in the spool, ${events} events in ${bytes} bytes kept in ${asideOf(file.path)}`)
    this.events = events
  }
}

class Spool {
  #home
  #name
  #tag
  #elsewhere
  #maxBytes
  #fileBytes
  #fsync
  #files = []
  #left = 0
  #made = 0
  #appending = false
  #broken = false
  #position = new Map() // batch -> [file, end], of those read and not yet drained

  /** home: the directory of this process (spool_home.js); name: the producer's; elsewhere: bytes that count as well. */
  constructor({ home, name, tag, maxBytes, fsync, elsewhere = () => 0, fileBytes = FILE_BYTES }) {
    this.#home = home
    this.#elsewhere = elsewhere
    this.#name = name
    this.#tag = tag
    this.#maxBytes = maxBytes
    this.#fileBytes = Math.min(fileBytes, maxBytes)
    this.#fsync = fsync
  }

  get isEmpty() {
    return this.#files.every((file) => file.unread === 0)
  }

  /** Bytes on disk, with those of files that were let go of. */
  get bytes() {
    return this.#files.reduce((sum, file) => sum + file.size, this.#left)
  }

  /** Returns when the batch is as safe as the settings say. sent: when it was sent before, see encode. */
  async append(batch, sent = 0) {
    const record = encode(batch, this.#tag, sent)
    if (this.bytes + this.#elsewhere() + record.length > this.#maxBytes)
      throw new SpoolFull('no room in the spool')
    this.#appending = true
    try {
      const file = await this.#fileFor(record.length)
      await this.#write(file, record, batch.events)
    } finally {
      this.#appending = false
    }
  }

  async #write(file, record, events) {
    try {
      await file.append(record, this.#fsync, events)
      this.#broken = false
    } catch (error) {
      // A disk that failed once says nothing reliable about that file again: the next record begins another. One that holds
      // nothing goes at once, or a full disk would cost an open file for each attempt.
      this.#broken = true
      if (file.size === 0) await this.#discard(file)
      throw error
    }
  }

  async #discard(file) {
    this.#files = this.#files.filter((each) => each !== file)
    // It holds no record: left behind by a disk that refuses this too, it is in nobody's way.
    await file.remove().catch(() => {})
  }

  /** The oldest batches that are not drained yet, about maxBytes of them. */
  async peek(maxBytes) {
    const file = this.#files.find(({ unread }) => unread > 0)
    if (!file) return []
    await file.markSent(this.#fsync)
    const { records, ...found } = await file.read(maxBytes)
    if (found.stop) {
      const damage = new SpoolDamaged(found, await file.skip(), file)
      await this.shrink()
      throw damage
    }
    this.#position.clear()
    for (const { batch, end } of records) this.#position.set(batch, [file, end])
    return records.map(({ batch }) => batch)
  }

  /** A batch of the last `peek` has arrived. */
  drained(batch) {
    const [file, end] = this.#position.get(batch)
    file.advance(end)
  }

  /** Give back the room of files that are drained; the newest stays for what comes next, unless everything is. */
  async shrink() {
    const everything = this.isEmpty && !this.#appending
    const gone = this.#files.filter(
      (file, i) => file.unread === 0 && (everything || i < this.#files.length - 1),
    )
    this.#files = this.#files.filter((file) => !gone.includes(file))
    for (const file of gone) await file.end()
  }

  /** Let go of the files; they stay where they are. */
  async close() {
    for (const file of this.#files.splice(0)) {
      if (file.unread > 0) this.#left += file.size
      await (file.unread === 0 ? file.end() : file.close())
    }
  }

  async #fileFor(bytes) {
    const last = this.#files.at(-1)
    if (last && !this.#broken && !last.isDamaged && last.size + bytes <= this.#fileBytes) return last
    const name = `${this.#name}~${++this.#made}${SUFFIX}`
    const file = await SpoolFile.create(path.join(await this.#home.dir(), name), this.#fsync)
    this.#files.push(file)
    return file
  }
}

module.exports = { Spool, SpoolDamaged, SpoolFull }
