'use strict'

// Names of the keys of a partition. One hash tag each, so that a partition lives on one node of a cluster.

const TYPES = ['delivered', 'deferred', 'bounce']

/** Keys of partition `index` of `count`, from the configured base. */
function ofPartition(base, index, count) {
  return ofTag(count > 1 ? `${base}:${index}` : base)
}

/** Keys under a hash tag. */
function ofTag(tag) {
  const key = (name) => `{${tag}}:${name}`
  return Object.freeze({
    tag,
    publish: ['producers', 'ledger', ...TYPES, 'history'].map(key),
    wanted: key('wanted'),
    nodes: key('nodes'),
  })
}

/** Partition of a message: the same for all of its recipients, attempts and splits (FNV-1a of its id). */
function partitionOf(jobId, count) {
  if (count === 1) return 0
  jobId = String(jobId)
  // <transaction>.<delivery>: the transaction alone, so that a message stays in one partition.
  const end = jobId.lastIndexOf('.')
  let hash = 0x811c9dc5
  for (let i = 0; i < (end > 0 ? end : jobId.length); i++) {
    hash = Math.imul(hash ^ jobId.charCodeAt(i), 0x01000193)
  }
  return (hash >>> 0) % count
}

module.exports = { TYPES, ofPartition, ofTag, partitionOf }
