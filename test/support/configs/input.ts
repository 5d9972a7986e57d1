export const config = () => ({ select: 0, subsel: 0 })
