/** Sync without being asked: at the start, in the foreground, when connected again, after a write. */

import type { Backend, BackendEvent, Session, SyncOptions } from './backend.js'
import { BackendError } from './backend.js'

export interface SyncState {
  /** Undefined until the storage has answered. */
  session: Session | null | undefined
  status: 'idle' | 'syncing' | 'offline' | 'failed'
  lastSyncedAt: Date | null
  /** How many records have changes that were not pushed. */
  pending: number
  /** Why the last sync failed. */
  error: unknown
}

export interface AutoSyncOptions extends SyncOptions {
  /** React Native's `AppState`; a browser needs none. */
  appState?: {
    addEventListener(type: 'change', listener: (state: string) => void): { remove(): void }
  }
  /** The default export of `@react-native-community/netinfo`; a browser needs none. */
  netInfo?: {
    addEventListener(listener: (state: { isConnected: boolean | null }) => void): () => void
  }
}

export interface AutoSync {
  readonly backend: Backend
  /** The present state, a new object after each change. */
  state(): SyncState
  /** Call `listener` after each change of the state; return what ends that. */
  subscribe(listener: () => void): () => void
  /** Sync now, with the same options; rejects as `backend.sync()` does. */
  sync(): Promise<void>
  stop(): void
}

const SYNCED_AT_KEY = 'watermelondb_backend_synced_at'
const AFTER_WRITE_MS = 2000
const FIRST_RETRY_MS = 5000
const MAX_RETRY_MS = 5 * 60_000
/** However long the backend asks to wait; a timer of more than 24 days would fire at once. */
const MAX_RETRY_AFTER_MS = 60 * 60_000

/** Start to sync whenever somebody is signed in and there is a reason to. */
export function autoSync(backend: Backend, options: AutoSyncOptions = {}): AutoSync {
  const { appState, netInfo, ...syncOptions } = options
  const { database } = backend
  const listeners = new Set<() => void>()
  let state: SyncState = {
    session: undefined,
    status: 'idle',
    lastSyncedAt: null,
    pending: 0,
    error: null,
  }
  let timer: ReturnType<typeof setTimeout> | undefined
  let failures = 0
  let sessions = 0
  let written = false
  let counting = false
  let countAgain = false
  let stopped = false

  function change(to: Partial<SyncState>) {
    state = { ...state, ...to }
    listeners.forEach((listener) => listener())
  }

  function sync(): Promise<void> {
    return backend.sync(syncOptions)
  }

  function syncUnlessRunning() {
    // Why it failed is in the state.
    if (state.session && state.status !== 'syncing' && !stopped) sync().catch(() => {})
  }

  function cancel() {
    clearTimeout(timer)
    timer = undefined
  }

  function syncIn(ms: number) {
    cancel()
    timer = setTimeout(() => {
      timer = undefined
      syncUnlessRunning()
    }, ms)
  }

  function onWrite() {
    // The writes of a sync are mostly its own; its end looks for others.
    if (state.status !== 'syncing') written = true
    void count()
  }

  /** Count what is pending, and push it soon; one count at a time, however many writes there are. */
  async function count() {
    if (counting) {
      countAgain = true
      return
    }
    counting = true
    do {
      countAgain = false
      // A database that is being reset cannot be asked.
      const pending = await backend.countUnsynced().catch(() => 0)
      if (pending !== state.pending) change({ pending })
    } while (countAgain)
    counting = false
    if (!written || stopped || state.status === 'syncing') return
    written = false
    // No later write may put it off, and a try that is due anyway is enough.
    if (state.pending > 0 && timer === undefined) syncIn(AFTER_WRITE_MS)
  }

  function onEvent(event: BackendEvent) {
    if (event.type === 'session') void onSession()
    if (event.type === 'sync') {
      cancel()
      if (event.phase === 'started') change({ status: 'syncing' })
      if (event.phase === 'done') onSynced()
      if (event.phase === 'failed') onFailed(event.error)
    }
  }

  async function onSession() {
    failures = 0
    if (await readSession()) syncUnlessRunning()
    else cancel()
  }

  /** Put who is signed in into the state; the last of several counts. */
  async function readSession() {
    const mine = (sessions += 1)
    try {
      const session = await backend.session()
      if (mine === sessions) change({ session })
    } catch (error) {
      if (mine === sessions) change({ session: null, status: 'failed', error })
    }
    return state.session
  }

  function onSynced() {
    failures = 0
    // A database that was reset is its owner's again.
    void readSession()
    const lastSyncedAt = new Date()
    change({ status: 'idle', error: null, lastSyncedAt })
    database.localStorage.set(SYNCED_AT_KEY, lastSyncedAt.getTime()).catch(() => {})
    onWrite()
  }

  function onFailed(error: unknown) {
    const status = error instanceof BackendError ? error.status : undefined
    change({ status: status === 0 ? 'offline' : 'failed', error })
    // The backend or the way to it may come back by itself; nothing else does.
    if (status === undefined || (status > 0 && status < 500 && status !== 429)) return
    const wait = Math.min(FIRST_RETRY_MS * 2 ** failures, MAX_RETRY_MS) * (0.5 + Math.random())
    failures += 1
    const asked = ((error as BackendError).retryAfter ?? 0) * 1000
    syncIn(Math.max(wait, Math.min(asked, MAX_RETRY_AFTER_MS)))
  }

  const onForeground = (now: string) => now === 'active' && syncUnlessRunning()
  const stops = [
    backend.subscribe(onEvent),
    onChanges(backend, onWrite),
    netInfo ? onReconnect(netInfo, syncUnlessRunning) : () => {},
    appState ? subscribed(appState.addEventListener('change', onForeground)) : () => {},
    inBrowser(syncUnlessRunning),
  ]

  async function start() {
    const at = await database.localStorage.get<number>(SYNCED_AT_KEY).catch(() => undefined)
    if (at) change({ lastSyncedAt: new Date(at) })
    await onSession()
  }
  void start()
  onWrite()

  return {
    backend,
    state: () => state,
    sync,

    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },

    stop() {
      stopped = true
      cancel()
      stops.forEach((stop) => stop())
    },
  }
}

/** Call `listener` after each write to a synced table. */
function onChanges({ database, tables }: Backend, listener: () => void): () => void {
  // Unlike database.experimentalSubscribe(), this goes on after a reset.
  const subscription = database.withChangesForTables(tables).subscribe(listener)
  return () => subscription.unsubscribe()
}

function onReconnect(
  netInfo: NonNullable<AutoSyncOptions['netInfo']>,
  listener: () => void,
): () => void {
  let connected = true
  return netInfo.addEventListener(({ isConnected }) => {
    if (isConnected && !connected) listener()
    connected = isConnected !== false
  })
}

function subscribed(subscription: { remove(): void }): () => void {
  return () => subscription.remove()
}

/** A page that is looked at again, and a browser that is connected again. */
function inBrowser(listener: () => void): () => void {
  // React Native has a window that has no events.
  if (typeof document === 'undefined' || !document.addEventListener) return () => {}
  const onVisible = () => document.visibilityState === 'visible' && listener()
  document.addEventListener('visibilitychange', onVisible)
  window.addEventListener('online', listener)
  return () => {
    document.removeEventListener('visibilitychange', onVisible)
    window.removeEventListener('online', listener)
  }
}
