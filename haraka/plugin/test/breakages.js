'use strict'

// Deliberate breakages, each of which must turn its tests red: node test/breaking.js tries them.

/** [name, file, text that stands there once, text in its place, test files]; of belt and braces both, in two lists. */
const BREAKAGES = [
  ['a duplicate is added again', 'lib/publish.lua', 'if seq <= last then', 'if false then', 'publish_script'],
  [
    'a gap is accepted',
    'lib/publish.lua',
    "if is_gap and ARGV[3] == '' then\n",
    'if false then\n',
    'publish_script',
  ],
  [
    'keys are not checked first',
    'lib/publish.lua',
    'check_arguments() or check_keys() or',
    'check_arguments() or',
    'publish_script',
  ],
  [
    'rights are not checked first',
    'lib/publish.lua',
    'check_keys() or check_rights()',
    'check_keys()',
    'refusals',
  ],
  [
    'counters are not checked first',
    'lib/publish.lua',
    "wrong = check_counters(':published')",
    '',
    'publish_script',
  ],
  [
    'answers are let go before their event is safe',
    'lib/publisher.js',
    'this.#waiting.push(event)\n',
    'this.#waiting.push(event); event.answer = undefined; answer.release()\n',
    'publisher',
  ],
  [
    "Haraka's answer does not wait",
    'lib/answer.js',
    'if (this.#events === 0 && !this.#first) return',
    'if (true) return',
    'answer plugin',
  ],
  [
    'answers that waited lose their order',
    'lib/answer.js',
    'if (this.#first) this.#last.next = call\n    else this.#first = call',
    'call.next = this.#first\n    this.#first = call',
    'answer',
  ],
  [
    'answers that waited come all at once',
    'lib/answer.js',
    'if (next && next.at - call.at >= SAME_TURN_MS)',
    'if (false)',
    'answer',
  ],
  [
    'a bounce message tells the reason of a later one',
    'lib/answer.js',
    'hmail.bounce_error = bounce_error\n',
    '',
    'answer',
  ],
  [
    'a plugin of the same priority goes first',
    'index.js',
    'hooks.unshift(...hooks.splice(index, 1))',
    'hooks.push(...hooks.splice(index, 1))',
    'plugin',
  ],
  [
    'a stall of its own is blamed on others by its clock',
    'lib/deadline.js',
    'elapsed > 2 * this.#tickMs ? STALLED * this.#tickMs : elapsed',
    'elapsed',
    'deadline',
  ],
  [
    'a stall of its own is blamed on others by its deadlines',
    'lib/deadline.js',
    ['const left = ms - time.look()', 'this.#immediate = setImmediate(late)'],
    ['const left = 0', 'late()'],
    'deadline',
  ],
  ['events that wait stay trees', 'lib/publisher.js', 'this.#waiting.settle()\n', '', 'publisher'],
  [
    'the server waits for what Haraka does next',
    'lib/publisher.js',
    'setImmediate(release, hand.events)',
    'release(hand.events)',
    'publisher',
  ],
  [
    'an ambiguous batch gets a new number',
    'lib/publisher.js',
    'this.#inHand ??= this.#form()',
    'this.#inHand = this.#inHand ? { ...this.#inHand, batch: require("./batch").form(this.#producer, ++this.#seq, this.#inHand.events) } : this.#form()',
    'publisher',
  ],
  [
    'what comes during the drain goes first',
    'lib/publisher.js',
    'if (this.#spooling) return this.#keep()',
    '',
    'publisher',
  ],
  [
    'a batch is sent before the last one is answered',
    'lib/publisher.js',
    'if (this.#isSending || ',
    'if (this.#inHand || ',
    'disk',
  ],
  [
    'events are dropped although the disk may take the next batch',
    'lib/refusal.js',
    'return this.isResting && this.#isFull && ',
    'return this.isResting && ',
    'disk',
  ],
  [
    'answers are let go while the disk is tried again',
    'lib/refusal.js',
    '  retry() {\n',
    '  retry() {\n    this.isOn = false\n',
    'disk',
  ],
  [
    'a write that hangs keeps batches from the server',
    'lib/publisher.js',
    'if (!this.#keeping) this.#caughtUp = false',
    'this.#caughtUp = false',
    'disk',
  ],
  [
    'batches of a dead process are regrouped under the number of the first (trap 25)',
    'lib/lane.js',
    'await courier.deliverAll([...of.keys()], done, backlog)',
    `{
        const all = [...of.keys()]
        const regrouped = (type) => {
          const parts = all.flatMap((batch) => batch.parts.filter((part) => part.type === type))
          const json = Buffer.from('[' + parts.map((part) => part.json.toString().slice(1, -1)).join() + ']')
          return parts.length ? [{ type, count: parts.reduce((sum, { count }) => sum + count, 0), json }] : []
        }
        const { Batch } = require('./batch')
        const one = new Batch(all[0].producer, all[0].seq, ['delivered', 'deferred', 'bounce'].flatMap(regrouped))
        await courier.deliverAll([one], () => all.forEach(done), backlog)
      }`,
    'claims',
  ],
  [
    'a producer that the server has forgotten is refused for ever (trap 28)',
    'lib/courier.js',
    'let excuse = givenUp',
    'let excuse = this.#ring ? givenUp : undefined',
    'claims',
  ],
  [
    'a gap is not filled from the ring (trap 26)',
    'lib/courier.js',
    '[...missing, batch], givenUp',
    '[batch], givenUp',
    'publisher',
  ],
  [
    'a lost batch is not counted',
    'lib/courier.js',
    'let excuse = givenUp',
    'let excuse = [0, 0, 0]',
    'publisher',
  ],
  ['a new server is not asked what it has', 'lib/courier.js', 'await this.#catchUp(session)', '', 'courier'],
  [
    'a late reply is waited for',
    'lib/patience.js',
    'return now - since >= this.#settings.spool_after_ms',
    'return false',
    'publisher',
  ],
  [
    'answers wait for ever',
    'lib/patience.js',
    'return now + this.tickMs - (',
    'return -Infinity - (',
    'publisher',
  ],
  [
    'a living process is robbed',
    'lib/spool_home.js',
    'if (await isAlive(root, holder)) return []',
    'await isAlive(root, holder)',
    'claims',
  ],
  [
    "somebody else's directory is claimed",
    'lib/spool_home.js',
    'else if (OURS.test(name))',
    'else',
    'claims',
  ],
  [
    'files are drained in the order of the alphabet',
    'lib/backlog.js',
    'sort((a, b) => a.number - b.number)',
    'sort((a, b) => (a.path < b.path ? -1 : 1))',
    'claims',
  ],
  [
    'a damaged record is taken',
    'lib/spool_record.js',
    "if (checksum(signed, payload) !== sum) return damaged('another checksum than it says')",
    '',
    'spool',
  ],
  [
    'what a record says is not looked at',
    'lib/record_fields.js',
    'if (!isWhole(seq, 1, MAX_COUNT))',
    'if (false)',
    'hostile_spool',
  ],
  [
    'links are followed below spool_dir',
    'lib/spool_home.js',
    'mustBeDirectory(await lstat(path.join(root, name)))',
    '',
    'hostile_spool',
  ],
  [
    'a drained file is removed while it is written',
    'lib/spool.js',
    'this.isEmpty && !this.#appending',
    'this.isEmpty',
    'spool',
  ],
  [
    'a file that could not be written stays open',
    'lib/spool.js',
    'if (file.size === 0) await this.#discard(file)',
    '',
    'spool',
  ],
  [
    'what cannot be read of the spool is not counted',
    'lib/publisher.js',
    'this.#counters.dropped += error.events',
    '',
    'publisher',
  ],
  [
    'the name of a spool file is not synced',
    'lib/spool_file.js',
    'if (fsync) await syncDirectory(dirname(path))',
    '',
    'spool',
  ],
  [
    'the spool has no bound',
    'lib/spool.js',
    'if (this.bytes + this.#elsewhere() + record.length > this.#maxBytes)',
    'if (false)',
    'spool',
  ],
  [
    'what left the ring of a forgotten producer is a loss',
    'lib/courier.js',
    'this.#isForgotten(last) ? NOTHING : held.after',
    'held.after',
    'courier',
  ],
  [
    'a spooled batch does not say that it was sent',
    'lib/publisher.js',
    'this.#spool.append(hand.batch, hand.sent)',
    'this.#spool.append(hand.batch)',
    'claims',
  ],
  [
    'a claimed file is removed although the server lost it',
    'lib/lane.js',
    'if (backlog.isIn(last)) return true',
    'return true',
    'claims',
  ],
  [
    'a gap in what was claimed is accepted',
    'lib/backlog.js',
    'if (!this.isIn(last)) throw',
    'if (false) throw',
    'lane',
  ],
  [
    'what is claimed does not count against the bound',
    'lib/lane.js',
    '[...this.#backlogs].reduce((sum, { bytes }) => sum + bytes, 0)',
    '0',
    'claims',
  ],
  ['memory has no bound', 'lib/waiting.js', 'return this.#length >= this.#maxLength', 'return false', 'full'],
  [
    'what only its own process did not see is taken for old',
    'lib/lane.js',
    'removeBefore(this.#heardAt - this.#keepMs)',
    'removeBefore(performance.now() - this.#keepMs)',
    'lane',
  ],
  [
    'spool_dir is made in the place of one that is away',
    'lib/spool_home.js',
    'recursive: isNew,',
    'recursive: true,',
    'claims',
  ],
  [
    'an address is shown as it was before a plugin rewrote it',
    'lib/event.js',
    "if (typeof user !== 'string') return closed",
    'if (address.original) return closed',
    'event',
  ],
  ['an expiry looks like a refusal', 'lib/failure.js', "text === error || message === ''", 'true', 'event'],
  ["strangers' addresses are shown", 'lib/failure.js', ".replace(SOME_FAILED, '$1')", '', 'event'],
  ['a part of an IP address is an enhanced code', 'lib/enhanced.js', '(?!\\d|\\.\\d)`', '`', 'enhanced'],
  ['what is cut has no mark', 'lib/text.js', '.read) + MARK', '.read)', 'event'],
  [
    'the headers that workers want are forgotten',
    'lib/wanted_headers.js',
    'if (!Array.isArray(remembered)) return undefined',
    'return undefined',
    'plugin',
  ],
  [
    'an emptied server wants no headers',
    'lib/accounting.js',
    'Array.isArray(members) && members.length > 0',
    'members !== undefined',
    'publisher',
  ],
  ['stale marks are repeated', 'lib/failure.js', 'words.slice(0, 10) === text.slice(0, 10)', 'true', 'event'],
  [
    'all recipients of the message are delivered',
    'lib/event.js',
    'okRecips?.length ? okRecips : hmail.todo.rcpt_to',
    'hmail.todo.rcpt_to',
    'event samples',
  ],
  [
    'an answer that throws takes others with it',
    'lib/answer.js',
    'hmail.logcrit?.(logLine(`${method} failed: ${failure.stack}`))',
    'throw failure',
    'answer',
  ],
  [
    'the client queues while it is offline',
    'lib/endpoint.js',
    ['disableOfflineQueue: true, ', 'reconnectStrategy: false'],
    ['', 'reconnectStrategy: () => 100_000'],
    'connection',
  ],
  [
    'the client library makes its commands again',
    'lib/endpoint.js',
    'const client = template.duplicate({',
    'const client = createClient({ RESP: 2, disableOfflineQueue: !0,',
    'connection',
  ],
  [
    'the client connects again by itself',
    'lib/endpoint.js',
    'reconnectStrategy: false',
    'reconnectStrategy: 10',
    'connection',
  ],
  [
    'a connection that comes too late is kept',
    'lib/endpoint.js',
    "else client.once('connect', () => discard(client))",
    '',
    'connection',
  ],
]

/** The source with the text of a breakage replaced, or an error where it does not stand there once. */
function edited(source, [name, file, from, to]) {
  const texts = [to].flat()
  return [from].flat().reduce((text, each, index) => {
    if (text.split(each).length !== 2) throw new Error(`${name}: ${file} does not hold the text once`)
    return text.replace(each, () => texts[index])
  }, source)
}

module.exports = { BREAKAGES, edited }
