export const config = () => ({ block_size: 1 << 21, addr: 2 ** 32, region_size: 2 ** 33, usable_region_size: 2 ** 30, requested_size: 2 ** 28 })
