<?php
// Marks every cookie `Secure`, as a server with TLS would. SimpleSAMLphp refuses to do so over http, and without it a
// browser takes no cookie with `SameSite=None`, which alone comes along with a POST from the application's site. The one
// callback that PHP has for headers is SimpleSAMLphp's, so it is done where the page is written.
ob_start(function ($page) {
    $cookies = preg_grep('/^set-cookie:/i', headers_list());
    header_remove('Set-Cookie');
    foreach ($cookies as $cookie) {
        header(preg_match('/; *secure/i', $cookie) ? $cookie : $cookie . '; Secure', false);
    }
    return $page;
});
