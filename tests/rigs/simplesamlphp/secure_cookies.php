<?php
// Marks every cookie `Secure`, as a server with TLS would. SimpleSAMLphp refuses to do so over http, and without it a
// browser takes no cookie with `SameSite=None`, which alone comes along with a POST from the application's site.
header_register_callback(function () {
    $cookies = preg_grep('/^set-cookie:/i', headers_list());
    header_remove('Set-Cookie');
    foreach ($cookies as $cookie) {
        header(preg_match('/; *secure/i', $cookie) ? $cookie : $cookie . '; Secure', false);
    }
});
