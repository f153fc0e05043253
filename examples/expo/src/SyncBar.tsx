import { Button, Text, View } from 'react-native'
import { useSync } from 'watermelondb-backend-client/react'

import { styles } from './styles'

const WORDS = { idle: 'Synced', syncing: 'Syncing', offline: 'Offline', failed: 'Sync failed' }

/** How sync stands, and a button for who does not want to wait. */
export function SyncBar() {
  const { status, lastSyncedAt, pending, error, sync } = useSync()
  const time = lastSyncedAt ? `, last ${lastSyncedAt.toLocaleTimeString()}` : ''
  return (
    <View style={styles.row}>
      <Text role="status" style={styles.grow}>
        {WORDS[status]}
        {time}, {pending} to send{status === 'failed' ? `: ${(error as Error).message}` : ''}
      </Text>
      <Button disabled={status === 'syncing'} onPress={() => sync().catch(() => {})} title="Sync" />
    </View>
  )
}
