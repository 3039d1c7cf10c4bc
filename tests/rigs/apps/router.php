<?php // A front page as many small applications of PHP have it: the path of the URL that came, decoded.
$path = rawurldecode(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) ?: '/');
echo str_starts_with($path, '/admin/') ? "the secret of the admins\n" : "an open page\n";
