export function startCharts() {}
