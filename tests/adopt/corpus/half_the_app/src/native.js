// Needs the device: it cannot be loaded here, and nothing of the schema is in it.
import { NativeModules } from 'react-native'

if (NativeModules.Camera.version !== 7) throw new Error('no camera')
export const camera = NativeModules.Camera
