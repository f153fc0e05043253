export const extra = [{ name: 'haptic', type: 'number' }] as const
