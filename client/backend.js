/**
 * The app's end of the backend: accounts, and `pullChanges` / `pushChanges` for WatermelonDB's
 * `synchronize()`. No dependencies: copy this file, or import it.
 *
 *   const backend = createBackend({
 *     url: 'https://api.example.com/v1',
 *     storage: { load: async () => tokensOrNull, save: async (tokensOrNull) => {} },
 *     onSignedOut: () => showLogin(),
 *   })
 *   await backend.login({ email, password })
 *   await backend.sync(() => synchronize({
 *     database,
 *     pullChanges: backend.pullChanges,
 *     pushChanges: backend.pushChanges,
 *     migrationsEnabledAtVersion: 1,
 *   }))
 *
 * It keeps tokens in `storage` (use the platform's secure one) and never touches the database: what
 * was not pushed yet is still there after the next login.
 */

/** An answer that was no success: `status`, the stable word `code`, and the `problem` as it came. */
export class BackendError extends Error {
  constructor(status, problem) {
    super(problem.detail || `The backend answered ${status}`)
    this.name = 'BackendError'
    this.status = status
    this.code = problem.code
    this.problem = problem
  }
}

/**
 * @param {object} options
 * @param {string} options.url with `/v1`
 * @param {{load: () => Promise<object|null>, save: (tokens: object|null) => Promise<void>}} options.storage
 * @param {() => void} [options.onSignedOut] the session has ended: somebody has to log in again
 * @param {number} [options.pageSize] rows per request of a pull, 1 to 10,000
 */
export function createBackend({ url, storage, onSignedOut = () => {}, pageSize = 2000 }) {
  let refreshing = null
  let syncing = null
  // After a push that left nothing to pull: what to ask for instead of `from`.
  let skip = null

  async function call(path, { method = 'GET', body, token } = {}) {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: token ? { Authorization: `Bearer ${token}` } : {},
      body: body === undefined ? undefined : JSON.stringify(body),
    })
    const text = await response.text()
    if (!response.ok) {
      throw new BackendError(response.status, parsed(text))
    }
    return text ? JSON.parse(text) : null
  }

  /** A call with the access token; one that has expired is replaced, once. */
  async function authorized(path, options) {
    const tokens = await storage.load()
    if (!tokens) {
      throw new BackendError(401, { code: 'unauthorized', detail: 'Nobody is logged in.' })
    }
    try {
      return await call(path, { ...options, token: tokens.accessToken })
    } catch (error) {
      if (error.status !== 401) throw error
      const { accessToken } = await refreshed(tokens)
      return call(path, { ...options, token: accessToken })
    }
  }

  /** New tokens for old ones. However many calls need them at once, one request is made. */
  function refreshed(used) {
    refreshing ??= refresh(used).finally(() => {
      refreshing = null
    })
    return refreshing
  }

  async function refresh(used) {
    const tokens = await storage.load()
    if (tokens && tokens.accessToken !== used.accessToken) return tokens
    try {
      const pair = await call('/auth/refresh', { method: 'POST', token: used.refreshToken })
      await storage.save(pair)
      return pair
    } catch (error) {
      // Only the backend's word ends a session; a lost connection does not.
      if (error.status === 401) {
        await storage.save(null)
        onSignedOut()
      }
      throw error
    }
  }

  async function signIn(path, credentials) {
    const { user, ...tokens } = await call(path, { method: 'POST', body: credentials })
    await storage.save(tokens)
    skip = null
    return user
  }

  return {
    /** Open an account ({email, password, name?, deviceName?}) and sign in; returns the user. */
    register: (credentials) => signIn('/auth/register', credentials),

    /** Sign in ({email, password, deviceName?}); returns the user. */
    login: (credentials) => signIn('/auth/login', credentials),

    /** End the session. What was not pushed stays in the database. */
    async logout() {
      const tokens = await storage.load()
      await storage.save(null)
      if (tokens) {
        await call('/auth/logout', { method: 'POST', body: { refreshToken: tokens.refreshToken } })
      }
    },

    /** Any other call of the API, with the session's token. */
    request: authorized,

    /** For `synchronize()`: asks page by page, so that no answer is too long for a slow network. */
    async pullChanges({ lastPulledAt, schemaVersion, migration }) {
      const body = { schemaVersion, migration, limit: pageSize }
      body.lastPulledAt = skip && skip.from === lastPulledAt ? skip.to : lastPulledAt
      const whole = await authorized('/sync/pull', { method: 'POST', body })
      while (whole.cursor) {
        const page = await authorized('/sync/pull', {
          method: 'POST',
          body: { ...body, cursor: whole.cursor },
        })
        for (const [table, change] of Object.entries(page.changes)) {
          for (const [bucket, rows] of Object.entries(change)) {
            const into = whole.changes[table][bucket]
            for (const row of rows) into.push(row)
          }
        }
        whole.cursor = page.cursor
      }
      delete whole.cursor
      return whole
    },

    /** For `synchronize()`: after a push that changed nothing but what it said, the next pull
     *  leaves out its echo. */
    async pushChanges({ changes, lastPulledAt }) {
      const { timestamp, upToDate } = await authorized('/sync/push', {
        method: 'POST',
        body: { changes, lastPulledAt },
      })
      skip = upToDate ? { from: lastPulledAt, to: timestamp } : null
    },

    /** Run `synchronize()`: one at a time, and once more when it fails, as WatermelonDB advises. */
    sync(run) {
      syncing ??= run()
        .catch((error) => {
          if (error.status === 401) throw error
          return run()
        })
        .finally(() => {
          syncing = null
        })
      return syncing
    },
  }
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return {}
  }
}
