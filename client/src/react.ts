/** Hooks for React and React Native: the session, and the state of sync. */

import { createContext, createElement, useContext, useSyncExternalStore } from 'react'
import type { FunctionComponentElement, ProviderProps, ReactNode } from 'react'

import type { AutoSync, SyncState } from './auto.js'
import type { Backend } from './backend.js'

export type UseSync = Omit<SyncState, 'session'> & Pick<AutoSync, 'sync'>

export interface UseSession extends Pick<Backend, 'register' | 'login' | 'signIn' | 'logout'> {
  /** `account_changed` while the database is another account's: show nothing of it. */
  status: 'loading' | 'signed_in' | 'signed_out' | 'account_changed'
  userId: string | null
}

const Context = createContext<AutoSync | null>(null)

/** Give `autoSync(backend)` to the hooks below it; another one for another database. */
export function BackendProvider(props: {
  autoSync: AutoSync
  children?: ReactNode
}): FunctionComponentElement<ProviderProps<AutoSync | null>> {
  return createElement(Context.Provider, { value: props.autoSync }, props.children)
}

/** Return how sync stands, and `sync` to ask for one. */
export function useSync(): UseSync {
  const { state, autoSync } = useAutoSync()
  const { session: _, ...rest } = state
  return { ...rest, sync: autoSync.sync }
}

/** Return who is signed in, and what changes that. */
export function useSession(): UseSession {
  const { state, autoSync } = useAutoSync()
  const { register, login, signIn, logout } = autoSync.backend
  const userId = state.session?.userId ?? null
  return { status: statusOf(state.session), userId, register, login, signIn, logout }
}

function statusOf(session: SyncState['session']): UseSession['status'] {
  if (session === undefined) return 'loading'
  if (session === null) return 'signed_out'
  return session.ownsDatabase ? 'signed_in' : 'account_changed'
}

function useAutoSync(): { state: SyncState; autoSync: AutoSync } {
  const autoSync = useContext(Context)
  if (!autoSync) throw new Error('There is no <BackendProvider> above this component.')
  const state = useSyncExternalStore(autoSync.subscribe, autoSync.state, autoSync.state)
  return { state, autoSync }
}
