/*
 * The colours that were chosen here, before anything is drawn: no page flashes in the others. It is loaded as a plain
 * script for that, because modules wait for the whole document.
 */
document.documentElement.dataset.theme = localStorage.getItem('gateway-theme') ?? 'system';
