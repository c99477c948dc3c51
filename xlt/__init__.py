__version__ = "0.1.0"
__all__ = ['analyse', 'Analysis']


def __getattr__(name):
    "`xlt.analyse`, imported when it is first asked for: `import xlt` alone loads nothing else."
    if name not in __all__: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from xlt.reporting import api
    return getattr(api, name)


def __dir__(): return [*globals(), *__all__]
