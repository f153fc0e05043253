export const extra = [{ name: 'is_not_this_one', type: 'string' }] as const
