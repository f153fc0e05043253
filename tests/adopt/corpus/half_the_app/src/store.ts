// Two modules that import each other, as apps have them.
import { Screen } from './screen'
import { schema } from '../schema'

export const useStore = () => ({ Screen, schema })
