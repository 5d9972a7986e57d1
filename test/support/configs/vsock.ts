export const config = () => ({ guest_cid: 3 })
