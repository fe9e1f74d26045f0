'use strict'

// A name stands in its directory for good, also after a power cut, once the directory itself was synced.

const { open } = require('node:fs/promises')

/** Returns when the names in a directory are on disk. */
async function syncDirectory(dir) {
  const handle = await open(dir, 'r')
  try {
    await handle.sync()
  } catch (error) {
    // Some file systems, such as network shares, cannot sync a directory; they are not to be refused for that.
    if (error.code !== 'EINVAL' && error.code !== 'ENOTSUP') throw error
  } finally {
    await handle.close()
  }
}

module.exports = { syncDirectory }
