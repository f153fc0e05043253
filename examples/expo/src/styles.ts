import { StyleSheet } from 'react-native'

export const styles = StyleSheet.create({
  screen: {
    flex: 1,
    gap: 12,
    padding: 24,
    // Below the camera.
    paddingTop: 64,
    width: '100%',
    maxWidth: 600,
    alignSelf: 'center',
  },
  title: { fontSize: 28, fontWeight: 'bold' },
  row: { flexDirection: 'row', alignItems: 'center', gap: 8 },
  grow: { flex: 1 },
  input: { borderWidth: 1, borderColor: '#767676', borderRadius: 6, padding: 10, fontSize: 16 },
})
