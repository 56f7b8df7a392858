REFERENCE = "real rows"
def write_section(*a): print(a[1].to_string())
