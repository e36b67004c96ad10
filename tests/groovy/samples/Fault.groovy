// Has a fault on purpose. scripts/lint-groovy looks at it in every run: CodeNarc that finds nothing here did not run.
String call() {
    String unused = 'x'
    return 'y';
}
