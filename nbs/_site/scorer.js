// How Sphinx's search ranks what it finds: a page whose title fits comes before a function of that name.
var Scorer = {objNameMatch: 6, objPartialMatch: 1, objPrio: {0: 4, 1: 2, 2: 0}, objPrioDefault: 0, title: 40, partialTitle: 30, term: 5, partialTerm: 2};
