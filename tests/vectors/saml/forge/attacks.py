"""x"""
def add_all():
    pass
