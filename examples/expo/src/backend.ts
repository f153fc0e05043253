import { Database } from '@nozbe/watermelondb'
import Constants from 'expo-constants'
import { AppState } from 'react-native'
import { autoSync, createBackend, live } from 'watermelondb-backend-client'

import { adapter } from './adapter'
import { modelClasses } from './schema'
import { tokens } from './tokens'

/** In development `make run` is on the machine that serves the app to the phone. */
const development = `http://${Constants.expoConfig?.hostUri?.split(':')[0] ?? 'localhost'}:8080/v1`

export const database = new Database({ adapter, modelClasses })

export const backend = createBackend({
  url: process.env.EXPO_PUBLIC_BACKEND ?? development,
  database,
  storage: tokens,
})

export const auto = autoSync(backend, { appState: AppState, migrationsEnabledAtVersion: 1 })
live(backend, auto.sync, { appState: AppState })
