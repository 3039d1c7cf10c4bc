<?php
$keys = json_decode(
    file_get_contents(getenv('PORTCULLIS_RIG_FOLDER') . '/keys.json'), true, 16, JSON_THROW_ON_ERROR
);
$metadata[getenv('PORTCULLIS_RIG_URL') . '/saml2/idp/metadata.php'] = [
    'host' => '__DEFAULT__',
    'privatekey' => $keys['signing'] . '.pem',
    'certificate' => $keys['signing'] . '.crt',
    'auth' => 'people',
    'userid.attribute' => 'uid',
    'NameIDFormat' => [
        'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent',
        'urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress',
        'urn:oasis:names:tc:SAML:2.0:nameid-format:transient',
    ],
    'signature.algorithm' => 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256',
    'sign.logout' => true,
    'SingleSignOnServiceBinding' => [
        'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect',
        'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST',
    ],
    'SingleLogoutServiceBinding' => [
        'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect',
        'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST',
    ],
    // Its own word for a second certificate that is published: here it is the one that no longer signs.
] + ($keys['also_published'] === null ? [] : ['new_certificate' => $keys['also_published'] . '.crt']);
