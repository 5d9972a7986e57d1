export const config = () => ({})
