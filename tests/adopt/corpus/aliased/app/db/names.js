export const NAMES = ['ports']
