/**
 * The app's end of the backend: accounts, and sync of one WatermelonDB database with one account.
 * This file needs WatermelonDB alone: use the package, or copy it.
 *
 * Tokens are kept in `storage` (the platform's secure one). Whose database it is, the database says
 * itself: it is never synced with another account.
 */

import type { Database } from '@nozbe/watermelondb/index.js'
import { Q } from '@nozbe/watermelondb/index.js'
import type {
  SyncArgs,
  SyncPullArgs,
  SyncPullResult,
  SyncPushArgs,
} from '@nozbe/watermelondb/sync/index.js'
// With the file's name, since Node's ESM resolves no directories.
import { synchronize } from '@nozbe/watermelondb/sync/index.js'

/** What `storage` keeps of a session. */
export interface Tokens {
  accessToken: string
  refreshToken: string
  tokenType?: string
  expiresIn?: number
}

export interface TokenStorage {
  load: () => Promise<Tokens | null>
  save: (tokens: Tokens | null) => Promise<void>
}

/** Servers may add fields. */
export interface User {
  id: string
  email: string
  name: string | null
  role: 'user' | 'admin'
  isActive: boolean
  emailVerified: boolean
  /** An e-mail that waits to be verified. */
  pendingEmail: string | null
  /** Without one, a fresh ID token confirms changes. */
  hasPassword: boolean
  createdAt: string
  updatedAt: string
}

/** The body of an error (RFC 9457). */
export interface Problem {
  code?: string
  detail?: string
  errors?: Record<string, string[]>
  /** The same paths: stable words, for texts in the user's language. */
  errorCodes?: Record<string, string[]>
  [field: string]: unknown
}

/** The answer to a push; servers may add fields. */
export interface PushResult {
  timestamp: number
  upToDate: boolean
  resolved?: Record<string, string[]>
  repaired?: Record<string, string[]>
  ignored?: Record<string, string[]>
  refused?: Record<string, string[]>
  refusedReasons?: Record<string, Record<string, string>>
  [field: string]: unknown
}

/** Who is signed in. */
export interface Session {
  userId: string
  /** False while the database is another account's: show nothing of it. */
  ownsDatabase: boolean
}

/** What happened, for any number of listeners (`subscribe`). */
export type BackendEvent =
  | { type: 'session'; userId: string | null }
  | { type: 'sync'; phase: 'started' | 'done' }
  | { type: 'sync'; phase: 'failed'; error: unknown }
  /** The server kept its own version of a pushed record, which the next pull brings. */
  | { type: 'refused'; table: string; id: string; reason: string | undefined }
  /** The server changed a value of a pushed record that it could not store; the next pull brings it. */
  | { type: 'repaired'; table: string; id: string }

export interface Progress {
  phase: 'pull' | 'push'
  /** Records pulled or pushed so far. */
  records: number
  /** Of how many, which only a push knows. */
  total?: number
}

export interface BackendOptions {
  /** With `/v1`. */
  url: string
  storage: TokenStorage
  /** Belongs to one account from its first sync to its reset. */
  database: Database
  /** The session has ended by the backend's word: somebody has to log in again. */
  onSignedOut?: () => void
  onProgress?: (progress: Progress) => void
  /** Each answer to a push, with what was refused, repaired or merged. */
  onPushed?: (result: PushResult) => void
  /** Tables that only the app has: left out of pushes. */
  localTables?: string[]
  /** Records per request of a pull, 1 to 10,000. */
  pageSize?: number
  /** Records per request of a push; a greater push is no longer all or nothing. */
  maxPushRecords?: number
  /** How long to wait for the first byte of an answer, and for each next one. */
  timeoutMs?: number
}

export interface RequestOptions {
  method?: string
  body?: unknown
  /** Throw `AccountChanged`, as a sync does, while the database is another account's. */
  asOwner?: boolean
}

export type SyncOptions = Omit<SyncArgs, 'database' | 'pullChanges' | 'pushChanges'>

export interface Credentials {
  email: string
  password: string
  deviceName?: string
}

/** What a provider's own library gave the app. */
export interface IdToken {
  /** One of the names in `methods()`. */
  provider: string
  idToken: string
  /** As the provider got it, or for Apple what it got the SHA-256 of. */
  nonce?: string
}

/** How people may sign in to this backend. */
export interface Methods {
  password: boolean
  /** Whether codes are sent by mail. */
  mail: boolean
  providers: { name: string; issuer: string; clientIds: string[] }[]
}

/** A provider's account that opens the user's. */
export interface Identity {
  provider: string
  email: string | null
  createdAt: string
}

export interface Backend {
  /** With `/v1`. */
  readonly url: string
  readonly database: Database
  /** The tables that are synced: all but `localTables`. */
  readonly tables: string[]
  /** Open an account and sign in. */
  register(credentials: Credentials & { name?: string }): Promise<User>
  /** Sign in. */
  login(credentials: Credentials): Promise<User>
  /** Sign in with a provider's ID token, in a new account (called `name`) if there is none yet. */
  signIn(token: IdToken & { name?: string; deviceName?: string }): Promise<User>
  /** How people may sign in here. */
  methods(): Promise<Methods>
  /** Have a code for a new password sent, if the address has an account. */
  forgotPassword(email: string): Promise<void>
  /** Set the new password with that code. Every session ends: log in next. */
  resetPassword(reset: { email: string; code: string; newPassword: string }): Promise<void>
  /** Have another code to verify the user's e-mail sent. */
  sendVerificationCode(): Promise<void>
  /** Verify an e-mail with that code. */
  verifyEmail(verification: { email: string; code: string }): Promise<void>
  /** The providers that open the user's account. */
  identities(): Promise<Identity[]>
  /** Let a provider open the user's account. */
  linkIdentity(token: IdToken): Promise<Identity>
  /** Let a provider open it no more. */
  unlinkIdentity(provider: string): Promise<void>
  /** End the session, offline too. What was not pushed stays in the database. */
  logout(): Promise<void>
  /** Who is signed in on this device, offline too. */
  session(): Promise<Session | null>
  /** Call `listener` with what happens; return what ends that. */
  subscribe(listener: (event: BackendEvent) => void): () => void
  /** How many records have changes that were not pushed. */
  countUnsynced(): Promise<number>
  /** Make any other call of the API with the session's token. */
  request<T = unknown>(path: string, options?: RequestOptions): Promise<T>
  /** The session's access token, or the next one if the backend has `rejected` that; of the database's account. */
  accessToken(rejected?: string): Promise<string>
  /** Run `synchronize()`: one at a time; asked for during a sync, once more after it. */
  sync(options?: SyncOptions): Promise<void>
  /** For a `synchronize()` of your own. */
  pullChanges(args: SyncPullArgs): Promise<SyncPullResult>
  /** For a `synchronize()` of your own. */
  pushChanges(args: SyncPushArgs): Promise<void>
}

/** A call that failed: `status` (0 without an answer) and the stable word `code`. */
export class BackendError extends Error {
  readonly status: number
  readonly code: string | undefined
  readonly problem: Problem
  /** Seconds to wait before the next try, if the backend said so. */
  readonly retryAfter: number | undefined

  constructor(status: number, problem: Problem, retryAfter?: number) {
    super(problem.detail || `The backend answered ${status}`)
    this.name = 'BackendError'
    this.status = status
    this.code = problem.code
    this.problem = problem
    this.retryAfter = retryAfter
  }
}

/** The database belongs to another account than the one that is signed in: reset it, or open another. */
export class AccountChanged extends Error {
  readonly code = 'account_changed'
  readonly hasUnsyncedChanges: boolean

  constructor(hasUnsyncedChanges: boolean) {
    super(
      'This database belongs to another account. ' +
        'Reset it, which loses what was not pushed, or open a database per user.',
    )
    this.name = 'AccountChanged'
    this.hasUnsyncedChanges = hasUnsyncedChanges
  }
}

const USER_KEY = 'watermelondb_backend_user'
const MAX_CALL_MS = 10 * 60_000
const MAX_LOGOUT_MS = 5000
const MAX_WAIT_S = 60
const TRIES = 3
/** Uploads may be this slow, in bytes per millisecond, before the limit for the first byte counts. */
const MIN_UPLOAD_RATE = 8
const ENDED = ['unauthorized', 'token_expired', 'token_reused', 'account_disabled']

export function createBackend({
  url,
  storage,
  database,
  onSignedOut = () => {},
  onProgress = () => {},
  onPushed = () => {},
  localTables = [],
  pageSize = 2000,
  maxPushRecords = 5000,
  timeoutMs = 30_000,
}: BackendOptions): Backend {
  if (!(maxPushRecords >= 1)) throw new RangeError('maxPushRecords must be at least 1')
  // Those that have a model, as synchronize() sees it; the schema may name more.
  const tables = Object.keys(database.collections.map).filter(
    (name) => !localTables.includes(name),
  )
  const listeners = new Set<(event: BackendEvent) => void>()
  const emit = (event: BackendEvent) => listeners.forEach((listener) => listener(event))
  const sessions = createSessions(storage, (tokens) =>
    emit({ type: 'session', userId: (tokens && userOf(tokens)) ?? null }),
  )
  const send = createSender(url, timeoutMs)
  let refreshing: { used: Tokens; result: Promise<Tokens> } | null = null
  let running: Promise<void> | null = null
  let queued: Promise<void> | null = null
  // After a push that left nothing to pull: what to ask for instead of `from`.
  let skip: { user: string | undefined; from: number; to: number } | null = null

  /** Make a call with the session's token, and once more with the next one if that has expired. */
  async function authorized(
    path: string,
    options: RequestOptions,
    check?: Check,
  ): Promise<Json | null> {
    const tokens = await loaded()
    await check?.(tokens)
    try {
      return await send(path, { ...options, token: tokens.accessToken })
    } catch (error) {
      if (!isBackendsWord(error, 401)) throw error
      const fresh = await refreshed(tokens)
      await check?.(fresh)
      return send(path, { ...options, token: fresh.accessToken })
    }
  }

  async function loaded(): Promise<Tokens> {
    const tokens = await sessions.load()
    if (!tokens) {
      throw new BackendError(401, { code: 'unauthorized', detail: 'Nobody is logged in.' })
    }
    return tokens
  }

  /** Exchange the tokens for new ones. However many calls need them at once, one request is made. */
  function refreshed(used: Tokens): Promise<Tokens> {
    if (refreshing?.used.refreshToken === used.refreshToken) return refreshing.result
    const mine = {
      used,
      result: refresh(used).finally(() => {
        if (refreshing === mine) refreshing = null
      }),
    }
    refreshing = mine
    return mine.result
  }

  async function refresh(used: Tokens): Promise<Tokens> {
    const session = sessions.current()
    const tokens = await sessions.load()
    if (!tokens || userOf(tokens) !== userOf(used)) throw sessionEnded()
    if (tokens.accessToken !== used.accessToken) return tokens
    try {
      const pair = tokensIn(
        await send('/auth/refresh', { method: 'POST', token: tokens.refreshToken }),
      )
      // Signed out, or another user in, meanwhile: the answer is of a session that is gone.
      if (!sessions.replace(session, pair)) throw sessionEnded()
      await sessions.settled()
      return pair
    } catch (error) {
      if (ENDED.some((code) => isBackendsWord(error, 0, code)) && sessions.end(session)) {
        await sessions.settled()
        onSignedOut()
      }
      throw error
    }
  }

  async function signIn(path: string, credentials: object): Promise<User> {
    const answer = await send(path, { method: 'POST', body: credentials })
    const tokens = tokensIn(answer)
    if (!isObject(answer?.user) || typeof answer.user.id !== 'string') throw notOurs()
    sessions.begin(tokens)
    skip = null
    await sessions.settled()
    return answer.user as unknown as User
  }

  /** Refuse a session whose user is not the one of the database, or not the one of `since`. */
  function sameUser(since?: { user?: string | undefined }): Check {
    return async (tokens) => {
      const user = userOf(tokens)
      await refuseOthers(user, since?.user)
      if (since) since.user = user
    }
  }

  /** Refuse a user who is not the one of the database, or, while that is nobody's, not `owner`. */
  async function refuseOthers(user: string | undefined, owner?: string) {
    const expected = (await database.localStorage.get<string>(USER_KEY)) ?? owner
    if (expected !== undefined && expected !== user) {
      throw new AccountChanged((await countUnsynced(database, tables)) > 0)
    }
  }

  async function pullChanges(args: SyncPullArgs): Promise<SyncPullResult> {
    const { lastPulledAt, schemaVersion, migration } = args
    const resets = resetsOf(database)
    const whose: { user?: string | undefined } = {}
    const check = sameUser(whose)
    const current = await sessions.load()
    const from =
      skip && current && skip.from === lastPulledAt && skip.user === userOf(current)
        ? skip.to
        : lastPulledAt
    const body = { schemaVersion, migration, limit: pageSize, lastPulledAt: from }
    const first = await pull(body)
    const whole: Pulled = { ...first, changes: {} }
    const ids = new Map<string, Set<string>>()
    append(whole.changes, first.changes, ids)
    let records = countRecords(whole.changes)
    onProgress({ phase: 'pull', records })
    while (whole.cursor) {
      const page = await pull({ ...body, cursor: whole.cursor })
      append(whole.changes, page.changes, ids)
      whole.cursor = page.cursor
      records += countRecords(page.changes)
      onProgress({ phase: 'pull', records })
    }
    delete whole.cursor
    // A database that was reset meanwhile is nobody's; synchronize() will refuse what was pulled.
    if (whose.user !== undefined && resetsOf(database) === resets) {
      // Another backend of this database may have bound it during this pull.
      await refuseOthers(whose.user)
      await database.localStorage.set(USER_KEY, whose.user)
    }
    // The type does not know experimentalStrategy, which synchronize() takes from here.
    return whole as unknown as SyncPullResult

    async function pull(request: object): Promise<Pulled> {
      const answer = await patiently(() =>
        authorized('/sync/pull', { method: 'POST', body: request }, check),
      )
      if (!isObject(answer?.changes) || typeof answer.timestamp !== 'number') throw notOurs()
      return answer as unknown as Pulled
    }
  }

  async function pushChanges({ changes, lastPulledAt }: SyncPushArgs): Promise<void> {
    skip = null
    const whose: { user?: string | undefined } = {}
    const check = sameUser(whose)
    const entries = inOrder(database, changes as Changes, localTables)
    const parts: Entry[][] = []
    for (let at = 0; at < entries.length; at += maxPushRecords) {
      parts.push(entries.slice(at, at + maxPushRecords))
    }
    let part: Entry[] | undefined
    let pushed = 0
    while ((part = parts.shift())) {
      const body = { changes: changeSet(part), lastPulledAt }
      try {
        const answer = await patiently(() =>
          authorized('/sync/push', { method: 'POST', body }, check),
        )
        if (typeof answer?.timestamp !== 'number') throw notOurs()
        const result = answer as unknown as PushResult
        pushed += part.length
        onProgress({ phase: 'push', records: pushed, total: entries.length })
        onPushed(result)
        for (const event of complaintsOf(result)) emit(event)
        if (result.upToDate && part.length === entries.length) {
          skip = { user: whose.user, from: lastPulledAt, to: result.timestamp }
        }
      } catch (error) {
        if (!(error instanceof BackendError && error.status === 413 && part.length > 1)) throw error
        const half = Math.ceil(part.length / 2)
        parts.unshift(part.slice(0, half), part.slice(half))
      }
    }
  }

  async function run(options: SyncOptions): Promise<void> {
    emit({ type: 'sync', phase: 'started' })
    try {
      await synchronized(options)
    } catch (error) {
      emit({ type: 'sync', phase: 'failed', error })
      throw error
    }
    emit({ type: 'sync', phase: 'done' })
  }

  async function synchronized(options: SyncOptions): Promise<void> {
    const once = () => synchronize({ ...options, database, pullChanges, pushChanges })
    try {
      await once()
    } catch (error) {
      // WatermelonDB advises to try again; calls have been repeated already where that helps.
      if (error instanceof BackendError || error instanceof AccountChanged) throw error
      await once()
    }
  }

  function sync(options: SyncOptions = {}): Promise<void> {
    if (!running) {
      running = run(options).finally(() => {
        running = null
      })
      return running
    }
    queued ??= running
      .catch(() => {})
      .then(() => {
        queued = null
        return sync(options)
      })
    return queued
  }

  return {
    url,
    database,
    tables,

    register: (credentials) => signIn('/auth/register', credentials),
    login: (credentials) => signIn('/auth/login', credentials),
    signIn: (token) => signIn('/auth/oidc', token),
    methods: async () => (await send('/auth/methods')) as unknown as Methods,

    async forgotPassword(email) {
      await send('/auth/password/forgot', { method: 'POST', body: { email } })
    },

    async resetPassword(reset) {
      await send('/auth/password/reset', { method: 'POST', body: reset })
    },

    async sendVerificationCode() {
      await authorized('/auth/email/send-code', { method: 'POST' })
    },

    async verifyEmail(verification) {
      await send('/auth/email/verify', { method: 'POST', body: verification })
    },

    async identities() {
      const answer = await authorized('/users/me/identities', {})
      if (!Array.isArray(answer?.identities)) throw notOurs()
      return answer.identities as Identity[]
    },

    async linkIdentity(token) {
      const answer = await authorized('/users/me/identities', { method: 'POST', body: token })
      return answer as unknown as Identity
    },

    async unlinkIdentity(provider) {
      await authorized(`/users/me/identities/${encodeURIComponent(provider)}`, { method: 'DELETE' })
    },

    async logout() {
      const tokens = await sessions.load().catch(() => null)
      sessions.begin(null)
      skip = null
      await sessions.settled()
      if (tokens) {
        // Any token of a session ends it, whatever a refresh under way makes of it.
        const body = { refreshToken: tokens.refreshToken }
        const told = send('/auth/logout', { method: 'POST', body })
        // It goes on, but nobody waits for long who has signed out already.
        const clock = createClock(MAX_LOGOUT_MS)
        await clock.wait(told).catch(() => {})
        clock.stop()
      }
    },

    async session() {
      const tokens = await sessions.load()
      const userId = tokens && userOf(tokens)
      if (!userId) return null
      const bound = await database.localStorage.get<string>(USER_KEY)
      return { userId, ownsDatabase: (bound ?? userId) === userId }
    },

    countUnsynced: () => countUnsynced(database, tables),

    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },

    async request<T>(path: string, { asOwner, ...options }: RequestOptions = {}) {
      return (await authorized(path, options, asOwner ? sameUser() : undefined)) as T
    },

    async accessToken(rejected) {
      const tokens = await loaded()
      await sameUser()(tokens)
      if (tokens.accessToken !== rejected) return tokens.accessToken
      return (await refreshed(tokens)).accessToken
    },

    pullChanges,
    pushChanges,
    sync,
  }
}

type Json = Record<string, unknown>
type Check = (tokens: Tokens) => Promise<void>
type Bucket = 'created' | 'updated' | 'deleted'
/** As WatermelonDB's SyncDatabaseChangeSet, which does not compile in every setting of TypeScript. */
type Changes = Record<string, { created: Raw[]; updated: Raw[]; deleted: string[] }>
type Raw = { id: string; [column: string]: unknown }
type Pulled = { changes: Changes; timestamp: number; cursor?: string | undefined }
interface Entry {
  table: string
  bucket: Bucket
  id: string
  // A record, or the id of a deleted one.
  value: unknown
}

/** Keep the tokens; one session after the other, and in memory what could not be saved yet. */
function createSessions(storage: TokenStorage, onChange: (tokens: Tokens | null) => void) {
  let number = 0
  let unsaved: { tokens: Tokens | null } | null = null
  let writing = Promise.resolve()

  function put(tokens: Tokens | null) {
    unsaved = { tokens }
    write()
  }

  function write() {
    writing = writing.then(async () => {
      const saved = unsaved
      if (!saved) return
      try {
        await storage.save(saved.tokens)
        if (unsaved === saved) unsaved = null
      } catch {
        // Tried again before the next use.
      }
    })
  }

  return {
    current: () => number,
    settled: () => writing,

    async load(): Promise<Tokens | null> {
      if (!unsaved) return storage.load()
      const { tokens } = unsaved
      write()
      await writing
      return unsaved ? unsaved.tokens : tokens
    },

    begin(tokens: Tokens | null) {
      number += 1
      put(tokens)
      onChange(tokens)
    },

    /** Take the next tokens of a session, unless that is over. */
    replace(session: number, tokens: Tokens): boolean {
      if (session !== number) return false
      put(tokens)
      return true
    },

    end(session: number): boolean {
      if (session !== number) return false
      number += 1
      put(null)
      onChange(null)
      return true
    },
  }
}

/** The function that sends one request, within limits of time. */
function createSender(url: string, timeoutMs: number) {
  return async function send(
    path: string,
    { method = 'GET', body, token }: RequestOptions & { token?: string } = {},
  ): Promise<Json | null> {
    const payload = body === undefined ? undefined : JSON.stringify(body)
    const clock = createClock(timeoutMs)
    try {
      const response = await clock.wait(
        fetch(`${url}${path}`, {
          method,
          headers: token ? { Authorization: `Bearer ${token}` } : {},
          ...(payload === undefined ? {} : { body: payload }),
          ...(clock.signal ? { signal: clock.signal } : {}),
        }),
        timeoutMs + (payload?.length ?? 0) / MIN_UPLOAD_RATE,
      )
      const text = await readText(response, clock)
      const answer = parsed(text)
      if (!response.ok) {
        throw new BackendError(
          response.status,
          isProblem(response) && isObject(answer) ? answer : {},
          retryAfter(response),
        )
      }
      // Done, or taken on: there is nothing to read.
      if ([202, 204].includes(response.status)) return null
      if (!isObject(answer)) throw notOurs()
      return answer
    } catch (error) {
      if (error instanceof BackendError) throw error
      const detail = `${url} does not answer: ${error instanceof Error ? error.message : error}`
      throw new BackendError(0, { code: 'network', detail })
    } finally {
      clock.stop()
    }
  }
}

/** Limits of time for one request, which hold on platforms that cannot abort one, too. */
function createClock(timeoutMs: number) {
  const controller = typeof AbortController === 'undefined' ? null : new AbortController()
  const timers = new Set<ReturnType<typeof setTimeout>>()
  let expire: (error: BackendError) => void
  const expired = new Promise<never>((_, reject) => {
    expire = reject
  })
  expired.catch(() => {})

  function startTimer(ms: number) {
    // A timer of more than 24 days would fire at once.
    ms = Math.min(ms, MAX_CALL_MS)
    const timer = setTimeout(() => {
      const detail = `The backend did not answer within ${Math.round(ms)} ms.`
      expire(new BackendError(0, { code: 'timeout', detail }))
      controller?.abort()
    }, ms)
    timers.add(timer)
    return timer
  }
  startTimer(MAX_CALL_MS)

  return {
    signal: controller?.signal,

    async wait<T>(what: Promise<T>, ms = timeoutMs): Promise<T> {
      const timer = startTimer(ms)
      try {
        return await Promise.race([what, expired])
      } finally {
        clearTimeout(timer)
        timers.delete(timer)
      }
    },

    stop: () => timers.forEach((timer) => clearTimeout(timer)),
  }
}

async function readText(
  response: Response,
  clock: ReturnType<typeof createClock>,
): Promise<string> {
  const reader = typeof TextDecoder === 'undefined' ? undefined : response.body?.getReader?.()
  if (!reader) return clock.wait(response.text(), MAX_CALL_MS)
  const decoder = new TextDecoder()
  let text = ''
  for (;;) {
    const { done, value } = await clock.wait(reader.read())
    if (done) return text + decoder.decode()
    text += decoder.decode(value, { stream: true })
  }
}

/** Repeat a call that may be repeated: after what the backend asks for, else backing off. */
async function patiently<T>(call: () => Promise<T>): Promise<T> {
  for (let tried = 1; ; tried += 1) {
    try {
      return await call()
    } catch (error) {
      const again =
        error instanceof BackendError && [0, 429, 502, 503, 504].includes(error.status)
      if (!again || tried === TRIES || (error.retryAfter ?? 0) > MAX_WAIT_S) throw error
      const jitter = 250 * 2 ** tried * (0.5 + Math.random())
      const ms = error.retryAfter === undefined ? jitter : error.retryAfter * 1000 + jitter / 4
      await new Promise((resolve) => setTimeout(resolve, ms))
    }
  }
}

function retryAfter(response: Response): number | undefined {
  const value = response.headers.get('Retry-After')
  if (!value) return undefined
  // By the server's clock where it says so: the device's may be hours off.
  const now = Date.parse(response.headers.get('Date') ?? '') || Date.now()
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - now) / 1000
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds)
}

function isProblem(response: Response): boolean {
  return /^application\/problem\+json/i.test(response.headers.get('Content-Type') ?? '')
}

/** Whether the backend itself said so, and not a proxy or a hotel's login page. */
function isBackendsWord(error: unknown, status: number, code?: string): boolean {
  if (!(error instanceof BackendError) || error.code === undefined) return false
  return (!status || error.status === status) && (!code || error.code === code)
}

function notOurs(): BackendError {
  const detail = 'The answer is not the backend’s. Is there a login page in between, or a wrong url?'
  return new BackendError(0, { code: 'unexpected_answer', detail })
}

function sessionEnded(): BackendError {
  return new BackendError(401, { code: 'unauthorized', detail: 'The session has ended meanwhile.' })
}

function tokensIn(answer: Json | null): Tokens {
  const { user: _, ...tokens } = answer ?? {}
  if (typeof tokens.accessToken !== 'string' || typeof tokens.refreshToken !== 'string') {
    throw notOurs()
  }
  return tokens as unknown as Tokens
}

/** The user's id as the tokens say it, expired ones too. */
function userOf({ accessToken, refreshToken }: Tokens): string | undefined {
  return subject(accessToken) ?? subject(refreshToken)
}

function subject(token: string): string | undefined {
  const claims = parsed(decodeBase64Url(token.split('.')[1] ?? ''))
  return isObject(claims) && typeof claims.sub === 'string' ? claims.sub : undefined
}

/** Older React Native has no atob. Claims are ASCII, so a byte is a character. */
function decodeBase64Url(text: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  let [bits, held, result] = [0, 0, '']
  for (const character of text) {
    bits = (bits << 6) | alphabet.indexOf(character)
    held += 6
    if (held >= 8) {
      held -= 8
      result += String.fromCharCode((bits >> held) & 255)
    }
    bits &= 255
  }
  return result
}

async function countUnsynced(database: Database, tables: string[]): Promise<number> {
  let count = 0
  for (const table of tables) {
    count += await database.get(table).query(Q.where('_status', Q.notEq('synced'))).fetchCount()
    count += (await database.adapter.getDeletedRecords(table)).length
  }
  return count
}

/** What a push has not stored as it was sent, record by record. */
function complaintsOf({ refused = {}, refusedReasons = {}, repaired = {} }: PushResult) {
  const each = (records: Record<string, string[]>) =>
    Object.entries(records).flatMap(([table, ids]) => ids.map((id) => ({ table, id })))
  return [
    ...each(refused).map(({ table, id }) => {
      return { type: 'refused' as const, table, id, reason: refusedReasons[table]?.[id] }
    }),
    ...each(repaired).map((record) => ({ type: 'repaired' as const, ...record })),
  ]
}

/** Public API has no word for it; synchronize() itself goes by this number. */
function resetsOf(database: Database): unknown {
  return (database as unknown as { _resetCount: unknown })._resetCount
}

/** All changes, each record after what it belongs to, and deletions last. */
function inOrder(
  database: Database,
  changes: Changes,
  localTables: string[],
): Entry[] {
  const writes = new Map<string, Entry>()
  const deletions: Entry[] = []
  for (const [table, change] of Object.entries(changes)) {
    if (localTables.includes(table)) continue
    for (const bucket of ['created', 'updated'] as const) {
      for (const value of change[bucket]) {
        writes.set(`${table} ${value.id}`, { table, bucket, id: value.id, value })
      }
    }
    for (const id of change.deleted) deletions.push({ table, bucket: 'deleted', id, value: id })
  }
  const byId = new Map<unknown, Entry>([...writes.values()].map((entry) => [entry.id, entry]))
  const ordered = new Set<Entry>()
  const begun = new Set<Entry>()
  for (const first of writes.values()) {
    const stack = [first]
    while (stack.length > 0) {
      const entry = stack[stack.length - 1]!
      const parents = begun.has(entry) ? [] : parentsOf(entry)
      begun.add(entry)
      stack.push(...parents)
      if (parents.length === 0) ordered.add(stack.pop()!)
    }
  }
  return [...ordered, ...deletions]

  /** What the entry belongs to by its model and is in this push, unless that is on its way. */
  function parentsOf({ table, value }: Entry): Entry[] {
    const { associations } = database.get(table).modelClass as unknown as {
      associations: Record<string, { type: string; key?: string }>
    }
    const named = Object.entries(associations).filter(([, { type }]) => type === 'belongs_to')
    const found = named.length
      ? named.map(([parent, { key }]) => writes.get(`${parent} ${(value as Json)[key!]}`))
      : // A model need not say what it belongs to, and a child that comes first may be lost.
        Object.entries(value as Json).map(([column, id]) =>
          column === 'id' ? undefined : byId.get(id),
        )
    return found.filter((entry): entry is Entry => entry !== undefined && !begun.has(entry))
  }
}

function changeSet(entries: Entry[]): Changes {
  const changes: Changes = {}
  for (const { table, bucket, value } of entries) {
    changes[table] ??= { created: [], updated: [], deleted: [] }
    changes[table][bucket].push(value as Raw & string)
  }
  return changes
}

/**
 * Add a page to those before, whose `ids` are kept by table. An id that comes again, since its row went to
 * another space between the two pages, is what the later one says.
 */
function append(changes: Changes, more: Changes, ids: Map<string, Set<string>>) {
  for (const [table, change] of Object.entries(more)) {
    const into = (changes[table] ??= { created: [], updated: [], deleted: [] })
    const known = ids.get(table) ?? new Set()
    ids.set(table, known)
    const idOf = (row: Raw | string) => (typeof row === 'string' ? row : row.id)
    const rows = [...change.created, ...change.updated, ...change.deleted]
    const again = new Set(rows.map(idOf).filter((id) => known.has(id)))
    for (const bucket of ['created', 'updated', 'deleted'] as const) {
      const kept = into[bucket] as (Raw & string)[]
      if (again.size > 0) into[bucket] = kept.filter((row) => !again.has(idOf(row)))
      for (const row of change[bucket]) into[bucket].push(row as Raw & string)
    }
    for (const row of rows) known.add(idOf(row))
  }
}

function countRecords(changes: Changes): number {
  return Object.values(changes).reduce(
    (sum, { created, updated, deleted }) => sum + created.length + updated.length + deleted.length,
    0,
  )
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
