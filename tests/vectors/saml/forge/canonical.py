"""Canonical XML, inclusive and exclusive, written out: lxml's own loses namespaces of ancestors that nothing uses."""

from lxml import etree

EXC_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
INC_C14N = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"


def escape_text(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#xD;")


def escape_attribute(text):
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return text.replace("\t", "&#x9;").replace("\n", "&#xA;").replace("\r", "&#xD;")


def list_attributes(element):
    """(namespace, local name, name as written, value) of each attribute."""
    for i, (key, value) in enumerate(element.attrib.items(), start=1):
        name = etree.QName(key)
        written = element.xpath(f"name(@*[{i}])") if name.namespace else name.localname
        yield name.namespace or "", name.localname, written, value


def prefix_of(written):
    return written.split(":")[0] if ":" in written else None


def write_element(element, out, rendered, exclusive, kept, comments):
    scope = {p: u for p, u in element.nsmap.items() if p != "xml"}
    attributes = sorted(list_attributes(element))
    used = {element.prefix} | {prefix_of(w) for n, _, w, _ in attributes if n and n != XML_NAMESPACE}
    wanted = used | (kept & scope.keys()) if exclusive else used | scope.keys()
    declared = {}
    for prefix in wanted - {"xml"}:
        uri = scope.get(prefix, "")
        if rendered.get(prefix, "") != uri:
            declared[prefix] = uri
    rendered = rendered | declared
    name = (
        f"{element.prefix}:{etree.QName(element).localname}"
        if element.prefix
        else etree.QName(element).localname
    )
    out.append(f"<{name}")
    for prefix, uri in sorted(declared.items(), key=lambda x: x[0] or ""):
        out.append(f' xmlns{":" + prefix if prefix else ""}="{escape_attribute(uri)}"')
    out.extend(f' {written}="{escape_attribute(value)}"' for _, _, written, value in attributes)
    out.append(">" + escape_text(element.text or ""))
    for child in element:
        write_node(child, out, rendered, exclusive, kept, comments)
        out.append(escape_text(child.tail or ""))
    out.append(f"</{name}>")


def write_node(node, out, rendered, exclusive, kept, comments):
    if isinstance(node, etree._Comment):
        out.append(f"<!--{node.text}-->" if comments else "")
    elif isinstance(node, etree._ProcessingInstruction):
        out.append(f"<?{node.target}{' ' + node.text if node.text else ''}?>")
    elif isinstance(node, etree._Entity):
        raise ValueError("an entity has no canonical form")
    else:
        write_element(node, out, rendered, exclusive, kept, comments)


def canonicalize(element, prefixes=None, method=EXC_C14N):
    """Octets of `element` and what is below it; `prefixes` is the PrefixList of exclusive canonicalization."""
    out = []
    kept = {None if p == "#default" else p for p in prefixes or ()}
    write_node(element, out, {}, method.startswith(EXC_C14N), kept, method.endswith("WithComments"))
    return "".join(out).encode()
